"""A base image made of this machine's own Debian packages, for where the public one cannot be pulled."""

import os
import platform
import tempfile
from pathlib import Path

from engines import Engine, ImagesError, need, run

INCLUDED = ("ca-certificates", "python3", "usr-is-merged")
HOOKS = Path("/usr/share/mmdebstrap/hooks/merged-usr")
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")
DOCKERFILE = """\
FROM scratch
ADD base.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["python3"]
"""


def tag() -> str:
    """The name of the base image of this machine's Debian. Raises ImagesError on another system."""
    return f"modelyard-base:{_suite()}"


def make(engine: Engine, built: Path) -> str:
    """Make the image, and return its name; packages are kept below ``built``. Raises ImagesError."""
    archive = built / f"{_suite()}.tar"
    if not archive.exists():
        _pack(archive)
    with tempfile.TemporaryDirectory(dir=built) as folder:
        context = Path(folder)
        (context / "base.tar").hardlink_to(archive)
        dockerfile = context / "Dockerfile"
        dockerfile.write_text(DOCKERFILE)
        engine.build(dockerfile, context, tag(), {}, {})
    return tag()


def _pack(archive: Path) -> None:
    if os.geteuid() != 0:
        raise ImagesError("A base image can only be made by root; name one that has Python 3.11 or newer with --base.")
    need("mmdebstrap", "A base image is made with mmdebstrap; install it, or name an image with --base.")
    part = archive.with_suffix(".part.tar")
    run(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={','.join(INCLUDED)}",
            f"--hook-dir={HOOKS}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            _suite(),
            str(part),
        ]
    )
    part.replace(archive)


def _suite() -> str:
    system = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    if system.get("ID") != "debian" or "VERSION_CODENAME" not in system:
        raise ImagesError("The public base image cannot be pulled; name one that has Python 3.11 or newer with --base.")
    return system["VERSION_CODENAME"]
