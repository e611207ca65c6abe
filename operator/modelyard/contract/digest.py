"""Content digests: ``sha256:<64 hex digits>`` of bytes, of files, and of documents in canonical JSON."""

import hashlib
import json
from pathlib import Path
from typing import Annotated

from pydantic import JsonValue, StringConstraints

DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"

Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN, max_length=71)]


def digest_of_bytes(data: bytes) -> Digest:
    """The digest of ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_of_file(path: Path) -> Digest:
    """The digest of the file's bytes, read in chunks. Raises OSError."""
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def digest_of_json(value: JsonValue) -> Digest:
    """The digest of ``value`` in canonical JSON: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return digest_of_bytes(text.encode())


def short(digest: Digest, length: int = 12) -> str:
    """The first ``length`` hex digits, for names and tables."""
    return digest.removeprefix("sha256:")[:length]
