"""How a build reaches the package index: what this machine is told, handed on as build secrets that no image keeps."""

import ast
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

MOUNTED = "/run/secrets"
CERTIFICATES = "ca-certificates"
UV_VARIABLES = ("UV_DEFAULT_INDEX", "UV_EXTRA_INDEX", "UV_HTTP_TIMEOUT", "UV_INDEX", "UV_INSECURE_HOST")
PIP_OPTIONS = ("extra-index-url", "index-url", "timeout", "trusted-host")


def secrets(folder: Path, environment: Mapping[str, str], python: str, cache: str | None) -> dict[str, Path]:
    """The build's secrets by id, written to ``folder``; ``cache`` is the folder in the build that uv is to keep.

    The settings come from the environment and from pip's own files; only a user of this machine may read them.
    """
    bundle = environment.get("SSL_CERT_FILE") or environment.get("PIP_CERT")
    lines = settings(environment, _pip_settings(python), certificates=bool(bundle))
    if cache is not None:
        lines.append(f"export UV_CACHE_DIR={shlex.quote(cache)}")
    index = folder / "index"
    index.touch(0o600)
    index.write_text("".join(f"{line}\n" for line in lines))
    return {"index": index, **({CERTIFICATES: Path(bundle)} if bundle else {})}


def settings(environment: Mapping[str, str], pip_settings: Sequence[str], *, certificates: bool) -> list[str]:
    """Lines of shell that say it to uv and pip; ``pip_settings`` are lines of ``pip config list``."""
    values = {name: value for name, value in environment.items() if name.startswith(UV_VARIABLES)}
    values |= dict(_pip_variables(pip_settings))
    if certificates:
        values |= dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT"), f"{MOUNTED}/{CERTIFICATES}")
    return [f"export {name}={shlex.quote(value)}" for name, value in sorted(values.items())]


def _pip_variables(pip_settings: Sequence[str]) -> Iterator[tuple[str, str]]:
    # The environment's own stand first in the list and win in pip.
    for line in reversed(pip_settings):
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        if option in PIP_OPTIONS:
            yield f"PIP_{option.upper().replace('-', '_')}", str(ast.literal_eval(value))


def _pip_settings(python: str) -> list[str]:
    command = [python, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return listed.stdout.splitlines() if listed.returncode == 0 else []
