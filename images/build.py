"""``build.py [NAME...] [--base IMAGE] [--push REGISTRY]``: the images of operator, trainer, compressor and server."""
# ruff: noqa: T201

import argparse
import fcntl
import http.client
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import debian_base
import package_index
from engines import Engine, ImagesError, engine, may_be_plain

NAMES = ("operator", "trainer", "compressor", "server")
ROOT = Path(__file__).parents[1]
BUILT = ROOT / "build/images"
PUBLIC_BASE = "python:3.11-slim-bookworm"
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Built:
    """One image as it was built, and perhaps pushed."""

    name: str
    reference: str
    size_bytes: int
    build_seconds: float
    push_seconds: float | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--base", metavar="IMAGE", help=f"default: {PUBLIC_BASE}, else made of Debian's packages")
    parser.add_argument("--push", metavar="REGISTRY", help="host:port, plain HTTP if it is an address or localhost")
    arguments = parser.parse_args()
    try:
        print(f"{'image':44} {'MB':>6} {'build s':>8} {'push s':>7}")
        for image in images(arguments.names or NAMES, arguments.push, arguments.base):
            megabytes = image.size_bytes / 1e6
            pushed = "" if image.push_seconds is None else f"{image.push_seconds:.1f}"
            print(f"{image.reference:44} {megabytes:6.0f} {image.build_seconds:8.1f} {pushed:>7}", flush=True)
    except ImagesError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def build(names: Sequence[str] = NAMES, push_to: str | None = None, base: str | None = None) -> dict[str, str]:
    """Build what has changed, and return each image's reference by name.

    A reference in a registry ends with the image's own id, so equal references are equal images. Raises ImagesError.
    """
    return {image.name: image.reference for image in images(names, push_to, base)}


def images(names: Sequence[str], push_to: str | None = None, base: str | None = None) -> Iterator[Built]:
    """The same, one after the other. Raises ImagesError."""
    if unknown := set(names) - set(NAMES):
        raise ImagesError(f"There is no image {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}.")
    builder = engine()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    with _alone(), tempfile.TemporaryDirectory(dir=BUILT) as folder:
        arguments = {"BASE": base or _base(builder), "VERSION": version}
        secrets = package_index.secrets(Path(folder), os.environ, sys.executable, builder.cache)
        for name in names:
            started = time.monotonic()
            tag = f"modelyard-{name}:{version}"
            identity = builder.build(ROOT / "images" / name / "Dockerfile", ROOT, tag, arguments, secrets)
            built = time.monotonic()
            reference = tag if push_to is None else _push(builder, f"{push_to}/{tag}", identity)
            pushed = None if push_to is None else time.monotonic() - built
            yield Built(name, reference, builder.size(tag) or 0, built - started, pushed)


def _base(builder: Engine) -> str:
    if builder.size(PUBLIC_BASE) is not None:
        return PUBLIC_BASE
    made = None
    try:
        made = debian_base.tag()
        if builder.size(made) is not None:
            return made
    except ImagesError:
        pass
    return PUBLIC_BASE if builder.pull(PUBLIC_BASE) else debian_base.make(builder, BUILT)


def _push(builder: Engine, reference: str, identity: str) -> str:
    # By id: another checkout may have given the tag to an image of its own meanwhile.
    exact = f"{reference}-{identity[:12]}"
    if not _is_there(exact):
        builder.push(identity, exact)
        builder.push(identity, reference)
    return exact


def _is_there(reference: str) -> bool:
    host, _, path = reference.partition("/")
    name, _, tag = path.rpartition(":")
    kind = http.client.HTTPConnection if may_be_plain(reference) else http.client.HTTPSConnection
    connection = kind(host, timeout=10)
    try:
        connection.request("HEAD", f"/v2/{name}/manifests/{tag}", headers={"Accept": MANIFESTS})
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def _alone() -> Iterator[None]:
    BUILT.mkdir(parents=True, exist_ok=True)
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
