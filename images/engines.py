"""What builds images on this machine: a Docker engine if one answers, else buildah, which needs no engine."""

import ipaddress
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

HOST_CACHE = "/var/cache/uv"
"""Where buildah mounts this machine's uv cache in a build."""


class ImagesError(Exception):
    """Images cannot be built or pushed; the message says why and what to do."""


class Engine(Protocol):
    """One way to build, look at and push images."""

    name: str
    cache: str | None
    """The folder in a build that holds this machine's uv cache; None: the engine keeps one of its own."""

    def build(
        self, dockerfile: Path, context: Path, tag: str, arguments: Mapping[str, str], secrets: Mapping[str, Path]
    ) -> str:
        """Build, with what is cached, and return the image's id. Raises ImagesError."""

    def pull(self, image: str) -> bool:
        """Whether the image could be pulled."""

    def size(self, image: str) -> int | None:
        """Bytes of all layers, uncompressed; None when there is no such image."""

    def push(self, image: str, reference: str) -> None:
        """Push to a registry; an address or localhost may speak plain HTTP. Raises ImagesError."""


class Docker:
    """The Docker engine, with BuildKit."""

    name = "docker"
    cache: str | None = None

    def build(
        self, dockerfile: Path, context: Path, tag: str, arguments: Mapping[str, str], secrets: Mapping[str, Path]
    ) -> str:
        proxies = [f"--build-arg={name}" for name in ("http_proxy", "https_proxy", "no_proxy") if name in os.environ]
        options = [*_options(dockerfile, tag, arguments, secrets), *proxies]
        run(["docker", "build", "--quiet", *options, str(context)], {"DOCKER_BUILDKIT": "1"})
        return run(["docker", "image", "inspect", "--format={{.Id}}", tag]).strip().removeprefix("sha256:")

    def pull(self, image: str) -> bool:
        return subprocess.run(["docker", "pull", "--quiet", image], capture_output=True, check=False).returncode == 0

    def size(self, image: str) -> int | None:
        command = ["docker", "image", "inspect", "--format={{.Size}}", image]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return int(found.stdout) if found.returncode == 0 else None

    def push(self, image: str, reference: str) -> None:
        run(["docker", "tag", image, reference])
        run(["docker", "push", "--quiet", reference])


class Buildah:
    """Buildah; root builds in a chroot and so needs neither user namespaces nor cgroups."""

    name = "buildah"
    cache: str | None = HOST_CACHE

    def __init__(self) -> None:
        root = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"} if os.geteuid() == 0 else {}
        self.environment = {name: value for name, value in root.items() if name not in os.environ}

    def build(
        self, dockerfile: Path, context: Path, tag: str, arguments: Mapping[str, str], secrets: Mapping[str, Path]
    ) -> str:
        uv_cache = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache/uv")
        uv_cache.mkdir(parents=True, exist_ok=True)
        options = [*_options(dockerfile, tag, arguments, secrets), f"--volume={uv_cache}:{HOST_CACHE}"]
        output = run(["buildah", "build", "--quiet", "--layers", *options, str(context)], self.environment)
        return output.split()[-1]

    def pull(self, image: str) -> bool:
        command = ["buildah", "pull", "--quiet", "--retry=0", image]
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0

    def size(self, image: str) -> int | None:
        command = ["buildah", "images", "--noheading", "--format={{.Size}}", image]
        environment = os.environ | self.environment
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        # A line for each name that the image has.
        return _bytes(found.stdout.splitlines()[0]) if found.returncode == 0 else None

    def push(self, image: str, reference: str) -> None:
        verify = f"--tls-verify={'false' if may_be_plain(reference) else 'true'}"
        options = ["--quiet", "--compression-format=zstd", "--compression-level=1", verify]
        run(["buildah", "push", *options, image, f"docker://{reference}"], self.environment)


def engine() -> Engine:
    """Docker or buildah, which root on Debian gets installed. Raises ImagesError when there is neither."""
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return Docker()
    need("buildah", "Images need a Docker engine or buildah; install one of them.")
    return Buildah()


def need(program: str, otherwise: str) -> None:
    """Have ``program``, installed by apt-get when root on Debian. Raises ImagesError with ``otherwise``."""
    if shutil.which(program):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ImagesError(otherwise)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-q"], quiet)
    run(["apt-get", "install", "-qy", "--no-install-recommends", program], quiet)


def may_be_plain(reference: str) -> bool:
    """Whether the registry of this reference is localhost or an address, which has no certificate."""
    host = re.sub(r":\d+$", "", reference.partition("/")[0])
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost"
    return True


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What the command prints. Raises ImagesError with the end of its output when it fails."""
    done = subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, text=True, check=False)
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise ImagesError(f"{' '.join(command[:2])} failed:\n{end}")
    return done.stdout


def _options(dockerfile: Path, tag: str, arguments: Mapping[str, str], secrets: Mapping[str, Path]) -> list[str]:
    return [
        f"--file={dockerfile}",
        f"--tag={tag}",
        *(f"--build-arg={name}={value}" for name, value in arguments.items()),
        *(f"--secret=id={name},src={path}" for name, path in secrets.items()),
    ]


def _bytes(text: str) -> int:
    number, unit = text.split()
    return round(float(number) * {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}[unit.upper()])
