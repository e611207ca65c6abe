"""``modelyard generate``: write what is derived from the models, and the code that examples carry."""

import re
import sys
from pathlib import Path

from modelyard.kinds import KINDS
from modelyard.schema.generate import files


def write(root: Path, *, check_only: bool) -> int:
    """Write the generated files, or say which differ; returns the exit code."""
    wrong = 0
    for name, text in {**files(KINDS), **examples(root)}.items():
        path = root / name
        if path.is_file() and path.read_text() == text:
            continue
        if check_only:
            sys.stderr.write(f"{name} is not as its source says; run: make generate\n")
            wrong = 1
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return wrong


def examples(root: Path) -> dict[str, str]:
    """The manifests of docs/examples, each ``<file>: |`` entry holding the text of the file of that name beside it."""
    return {str(manifest.relative_to(root)): _with_files(manifest) for manifest in root.glob("docs/examples/*/*.yaml")}


def _with_files(manifest: Path) -> str:
    def embed(match: re.Match[str]) -> str:
        source = manifest.parent / match[1]
        if not source.is_file():
            return match[0]
        lines = (f"    {line}".rstrip() for line in source.read_text().splitlines())
        return f"  {match[1]}: |\n" + "\n".join(lines) + "\n"

    return re.sub(r"^  ([\w.-]+): \|\n(?:    .*\n|\n)*", embed, manifest.read_text(), flags=re.MULTILINE)
