"""Where the cluster's programs come from: built here from Go modules, once for each state of their sources."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lacking import LackingError

HERE = Path(__file__).parent
BUILT = Path(__file__).parents[2] / "build/cluster"
# From here on the go command fetches by itself the release that go.mod asks for.
OLDEST_GO = (1, 21)
GET_GO = "Install Go 1.26 or newer and put it on PATH; Kubernetes is then built once, in about 8 minutes on 2 cores."


@dataclass(frozen=True)
class Program:
    """One that is built from a folder with a ``go.mod``."""

    name: str
    module: str = "kubebox"
    """The folder of the ``go.mod`` that pins all it is made of."""
    package: str = "."
    """What is built: a folder of that module, or the program of others."""
    tags: str = ""
    variables: str = ""
    """Values that the linker puts in, as Go's ``-X`` takes them."""

    @property
    def folder(self) -> Path:
        return HERE / self.module

    def built(self) -> bool:
        """Whether it is there, of the sources as they are."""
        return self._path().exists()

    def path(self) -> Path:
        """The program, built if its sources changed since. Raises ``LackingError`` without Go."""
        path = self._path()
        if path.exists():
            return path
        go = _go()
        BUILT.mkdir(parents=True, exist_ok=True)
        with _alone(BUILT / f"{self.name}.lock"):
            if not path.exists():
                started = time.monotonic()
                print(f"building {self.name}", file=sys.stderr, flush=True)  # noqa: T201
                self._build(go, path)
                print(f"built {self.name} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)  # noqa: T201
                for old in BUILT.glob(f"{self.name}-{'[0-9a-f]' * 12}"):
                    if old != path.parent:
                        shutil.rmtree(old)
        return path

    def _path(self) -> Path:
        return BUILT / f"{self.name}-{self._digest()}" / self.name

    def _build(self, go: str, path: Path) -> None:
        flags = " ".join(["-s", "-w", *(f"-X {each}" for each in self.variables.split())])
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        built = subprocess.run(
            [
                *(go, "build", "-trimpath", "-buildvcs=false"),
                *("-tags", self.tags, "-ldflags", flags, "-o", part, self.package),
            ],
            cwd=self.folder,
            env=os.environ | {"CGO_ENABLED": "0"},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if built.returncode:
            raise LackingError(f"{self.name} could not be built:\n{built.stderr[-4000:]}")
        part.replace(path)

    def _digest(self) -> str:
        digest = hashlib.sha256(f"{self.package} {self.tags} {self.variables}\n".encode())
        sources = (self.folder / self.package).glob("*.go") if self.package.startswith(".") else ()
        for path in sorted([*self.folder.glob("go.*"), *sources]):
            digest.update(f"{path.name}\n".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:12]


def kubebox(*, node: bool = False) -> Path:
    """The program that holds the control plane and kubectl; with ``node`` it holds what a node takes too."""
    return _kubebox(node=node).path()


def _kubebox(*, node: bool) -> Program:
    version = "k8s.io/component-base/version"
    major, minor, _ = kubernetes().split(".")
    variables = f"{version}.gitVersion=v{kubernetes()} {version}.gitMajor={major} {version}.gitMinor={minor}"
    if node:
        return Program("kubebox-node", tags="node", variables=variables)
    return Program("kubebox", variables=variables)


def kubectl() -> Path:
    """kubectl of the cluster's version: a link to a kubebox under that name."""
    with_node = _kubebox(node=True)
    return _linked("kubectl", with_node.path() if with_node.built() else kubebox())


def helm() -> Path:
    """Helm 4."""
    version = f"helm.sh/helm/v4/internal/version.version={_required('helm.sh/helm/v4')}"
    return Program("helm", package="helm.sh/helm/v4/cmd/helm", variables=version).path()


def kind() -> Path:
    """The program that runs Kubernetes in Docker, as found on PATH or built."""
    found = shutil.which("kind")
    return Path(found) if found else Program("kind", "kind", "sigs.k8s.io/kind").path()


def h2spec() -> Path:
    """What asks a server for everything that HTTP/2 forbids and demands."""
    return Program("h2spec", "h2spec", "github.com/summerwind/h2spec/cmd/h2spec").path()


def coredns() -> Path:
    return Program("coredns", package="./coredns").path()


def metrics_server() -> Path:
    return Program("metrics-server", package="sigs.k8s.io/metrics-server/cmd/metrics-server").path()


def pod() -> Path:
    """What runs in the pods of the cluster's own tests, and holds every pod's namespaces."""
    return Program("pod", "pod").path()


def tools() -> Path:
    """A folder with kubectl and helm, for PATH."""
    kubectl()
    return _linked("helm", helm()).parent


def kubernetes() -> str:
    """The version of Kubernetes, such as 1.37.2."""
    return _required("k8s.io/kubernetes").removeprefix("v")


def _required(module: str) -> str:
    required = re.search(rf"{re.escape(module)} (v\S+)", (HERE / "kubebox/go.mod").read_text())
    assert required, f"go.mod names no version of {module}"
    return required[1]


def _linked(name: str, program: Path) -> Path:
    link = BUILT / "bin" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() or link.readlink() != program:
        link.unlink(missing_ok=True)
        link.symlink_to(program)
    return link


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise LackingError(f"Go is missing. {GET_GO}")
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"go(\d+)\.(\d+)", version)
    if number and (int(number[1]), int(number[2])) < OLDEST_GO:
        raise LackingError(f"{version.strip()} is too old. {GET_GO}")
    return go


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One build at a time, also among processes."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
