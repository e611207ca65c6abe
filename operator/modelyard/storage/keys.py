"""The keys to an object store: a Secret, mounted as a folder with one file a key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelyard.contract import layout
from modelyard.storage.errors import StorageError

REQUIRED = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
OPTIONAL = ("AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL")


@dataclass(frozen=True)
class Keys:
    """What a Secret holds, by the names that AWS gives them."""

    secret: str
    """The Secret's name, for messages."""
    values: Mapping[str, str] = field(repr=False)


def mounted_keys(secret: str) -> Keys:
    """The keys of a Secret of this pod. Raises StorageError: SecretMissing, SecretInvalid."""
    folder = layout.root() / layout.SECRETS / secret
    return keys_of(secret, {name: text for name in (*REQUIRED, *OPTIONAL) if (text := _read(folder / name))})


def keys_of(secret: str, values: Mapping[str, str]) -> Keys:
    """The keys, if there are enough of them. Raises StorageError: SecretMissing, SecretInvalid."""
    lacking = [name for name in REQUIRED if not values.get(name)]
    if not values:
        raise StorageError(
            "SecretMissing",
            f"Secret {secret!r} is missing or holds no key that is known; create it in the same namespace "
            f"with {' and '.join(REQUIRED)}",
        )
    if lacking:
        raise StorageError("SecretInvalid", f"Secret {secret!r} lacks {' and '.join(lacking)}; add it")
    endpoint = values.get("AWS_ENDPOINT_URL", "")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise StorageError(
            "SecretInvalid", f"Secret {secret!r}: AWS_ENDPOINT_URL is no http:// or https:// address; correct it"
        )
    return Keys(secret, values)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
