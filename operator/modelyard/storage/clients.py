"""The client for each kind of object store, by obstore."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from modelyard.storage.errors import StorageError
from modelyard.storage.keys import NAMES, Keys
from modelyard.storage.uri import StorageUri

if TYPE_CHECKING:
    from obstore.store import S3Credential


@dataclass(frozen=True)
class Patience:
    """How long a request is waited for. The defaults make at most about two minutes until an error is told."""

    connect: timedelta = timedelta(seconds=5)
    request: timedelta = timedelta(seconds=60)
    """For one request; a large file takes many, of 16 MiB each."""
    retry: timedelta = timedelta(seconds=60)
    """No request is tried again after that."""

    def options(self) -> dict[str, Any]:
        """As every client of obstore takes it."""
        first, longest = timedelta(milliseconds=200), timedelta(seconds=10)
        return {
            "client_options": {"allow_http": True, "connect_timeout": self.connect, "timeout": self.request},
            "retry_config": {
                "max_retries": 5,
                "retry_timeout": self.retry,
                "backoff": {"init_backoff": first, "max_backoff": longest, "base": 2},
            },
        }


_CONFIG: Mapping[str, Mapping[str, str]] = {
    "s3": {"AWS_REGION": "region", "AWS_ENDPOINT_URL": "endpoint"},
    "gs": {"GOOGLE_SERVICE_ACCOUNT_KEY": "service_account_key", "GOOGLE_BASE_URL": "base_url"},
    "az": {
        "AZURE_STORAGE_ACCOUNT_NAME": "account_name",
        "AZURE_STORAGE_ACCOUNT_KEY": "account_key",
        "AZURE_STORAGE_ENDPOINT": "endpoint",
    },
}
"""What obstore calls the keys of a Secret."""


def connect(place: StorageUri, keys: Keys | None, patience: Patience) -> ObjectStore:
    """The client for a scheme that is an object store; without keys, with those that the pod's environment offers.

    Raises StorageError (SecretInvalid) for keys that the client cannot read.
    """
    values = {} if keys is None else keys.values
    config: Any = {option: values[name] for name, option in _CONFIG[place.scheme].items() if name in values}
    options = {"prefix": place.path or None, "config": config, **patience.options()}
    try:
        match place.scheme:
            case "s3":
                return S3Store(place.host, credential_provider=None if keys is None else _aws(keys), **options)
            case "gs":
                return GCSStore(place.host, **options)
            case "az":
                return AzureStore(place.host, **options)
            case _:
                raise AssertionError(f"{place} is in no object store")
    except (BaseError, ValueError) as error:
        whose = f"Secret {keys.secret!r}" if keys is not None else "the pod's environment"
        names = " and ".join(NAMES[place.scheme].required)
        raise StorageError("SecretInvalid", f"{place}: {whose} has no {names} that can be used; correct it") from error


def _aws(keys: Keys) -> "Callable[[], S3Credential]":
    """Not as configuration: a token in the environment would be sent along with the Secret's keys."""
    credential: S3Credential = {
        "access_key_id": keys.values["AWS_ACCESS_KEY_ID"],
        "secret_access_key": keys.values["AWS_SECRET_ACCESS_KEY"],
        "token": keys.values.get("AWS_SESSION_TOKEN"),
        "expires_at": None,
    }
    return lambda: credential
