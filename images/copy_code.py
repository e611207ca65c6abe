"""The code layer of an image: packages of this repository with metadata and byte code.

``copy_code.py TARGET PATH...`` copies each ``ROOT/./PACKAGE`` to ``TARGET/PACKAGE``. The same code gives the same
bytes, whenever and wherever it is copied: no time of a file gets into the layer.
"""

import compileall
import os
import py_compile
import shutil
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


def main(target: Path, sources: list[str]) -> None:
    """Raises OSError when a source is missing and RuntimeError when one does not compile."""
    for source in sources:
        root, _, package = source.partition("/./")
        _copy(Path(root, package), target / package)
    project = tomllib.loads(PROJECT.read_text())["project"]
    metadata = target / f"{project['name']}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(METADATA.format_map(project))
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(target, quiet=1, invalidation_mode=mode):
        raise RuntimeError("The code does not compile.")
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (0, 0))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
