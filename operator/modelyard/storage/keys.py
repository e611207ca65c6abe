"""The keys to an object store: a Secret, mounted as a folder with one file a key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelyard.contract import layout
from modelyard.storage.errors import StorageError
from modelyard.storage.uri import Scheme


@dataclass(frozen=True)
class Names:
    """What a Secret may hold for one kind of object store, by the names that its own tools use."""

    required: tuple[str, ...]
    endpoint: str
    """For a store elsewhere than at the provider."""
    optional: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every name."""
        return (*self.required, *self.optional, self.endpoint)


NAMES: Mapping[Scheme, Names] = {
    "s3": Names(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "AWS_ENDPOINT_URL", ("AWS_SESSION_TOKEN", "AWS_REGION")
    ),
    "gs": Names(("GOOGLE_SERVICE_ACCOUNT_KEY",), "GOOGLE_BASE_URL"),
    "az": Names(("AZURE_STORAGE_ACCOUNT_NAME",), "AZURE_STORAGE_ENDPOINT", ("AZURE_STORAGE_ACCOUNT_KEY",)),
}


@dataclass(frozen=True)
class Keys:
    """What a Secret holds."""

    secret: str
    """The Secret's name, for messages."""
    values: Mapping[str, str] = field(repr=False)


def mounted_keys(secret: str, scheme: Scheme) -> Keys:
    """The keys of a Secret of this pod. Raises StorageError: SecretMissing, SecretInvalid."""
    folder = layout.root() / layout.SECRETS / secret
    return keys_of(secret, {name: text for name in NAMES[scheme].all if (text := _read(folder / name))}, scheme)


def keys_of(secret: str, values: Mapping[str, str], scheme: Scheme) -> Keys:
    """The keys, if there are enough of them. Raises StorageError: SecretMissing, SecretInvalid."""
    names = NAMES[scheme]
    found = {name: values[name] for name in names.all if values.get(name)}
    lacking = [name for name in names.required if name not in found]
    if not found:
        raise StorageError(
            "SecretMissing",
            f"Secret {secret!r} is missing or holds no key for {scheme}://; create it in the same namespace "
            f"with {' and '.join(names.required)}",
        )
    if lacking:
        raise StorageError("SecretInvalid", f"Secret {secret!r} lacks {' and '.join(lacking)}; add it")
    endpoint = found.get(names.endpoint, "")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise StorageError(
            "SecretInvalid", f"Secret {secret!r}: {names.endpoint} is no http:// or https:// address; correct it"
        )
    return Keys(secret, found)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
