"""Where the cluster's programs come from: built here from ``kubebox/``, once for each state of its sources."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lacking import LackingError

SOURCES = Path(__file__).parent / "kubebox"
BUILT = Path(__file__).parents[2] / "build/cluster"
# From here on the go command fetches by itself the release that go.mod asks for.
OLDEST_GO = (1, 21)
GET_GO = "Install Go 1.26 or newer and put it on PATH; Kubernetes is then built once, in about 8 minutes on 2 cores."


def kubebox(*, node: bool = False) -> Path:
    """The program that holds the control plane; with ``node`` it holds kubelet and kube-proxy too.

    Built if the sources changed since, which takes minutes the first time. Raises ``LackingError`` without Go.
    """
    name = "kubebox-node" if node else "kubebox"
    path = BUILT / f"{name}-{_digest()}"
    if path.exists():
        return path
    go = _go()
    BUILT.mkdir(parents=True, exist_ok=True)
    with _alone(BUILT / "lock"):
        if not path.exists():
            print(f"building {name} of Kubernetes {kubernetes()}", flush=True)  # noqa: T201
            _build(go, path, tags="node" if node else "")
            for old in BUILT.glob(f"{name}-{'[0-9a-f]' * 12}"):
                if old != path:
                    old.unlink()
    return path


def helm() -> Path:
    """The helm program. Raises ``LackingError`` without it."""
    found = shutil.which("helm")
    if found is None:
        raise LackingError("Helm is missing. Install Helm 4 and put it on PATH.")
    return Path(found)


def kubernetes() -> str:
    """The version of Kubernetes, such as 1.37.2."""
    required = re.search(r"k8s\.io/kubernetes v(\S+)", (SOURCES / "go.mod").read_text())
    assert required, "go.mod names no version of Kubernetes"
    return required[1]


def _build(go: str, path: Path, tags: str) -> None:
    major, minor, _ = kubernetes().split(".")
    version = {"gitVersion": f"v{kubernetes()}", "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in version.items())
    part = path.with_suffix(".part")
    built = subprocess.run(
        [go, "build", "-trimpath", "-buildvcs=false", "-tags", tags, "-ldflags", f"-s -w {flags}", "-o", part, "."],
        cwd=SOURCES,
        env=os.environ | {"CGO_ENABLED": "0"},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if built.returncode:
        raise LackingError(f"{path.name} could not be built:\n{built.stderr[-4000:]}")
    part.replace(path)


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise LackingError(f"Go is missing. {GET_GO}")
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"go(\d+)\.(\d+)", version)
    if number and (int(number[1]), int(number[2])) < OLDEST_GO:
        raise LackingError(f"{version.strip()} is too old. {GET_GO}")
    return go


def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted([*SOURCES.glob("*.go"), SOURCES / "go.mod", SOURCES / "go.sum"]):
        digest.update(f"{path.name}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One build at a time, also among processes."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
