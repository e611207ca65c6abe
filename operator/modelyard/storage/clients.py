"""The client for each kind of object store, by obstore."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from modelyard.storage.errors import StorageError
from modelyard.storage.keys import NAMES, Keys
from modelyard.storage.uri import StorageUri

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config, S3Credential


@dataclass(frozen=True)
class Patience:
    """How long a request is waited for. The defaults make at most about two minutes until an error is told."""

    connect: timedelta = timedelta(seconds=5)
    request: timedelta = timedelta(seconds=60)
    """For one request; a large file takes many, of 16 MiB each."""
    retry: timedelta = timedelta(seconds=60)
    """No request is tried again after that."""

    def client(self) -> "ClientConfig":
        """As obstore takes it."""
        return {"allow_http": True, "connect_timeout": self.connect, "timeout": self.request}

    def retries(self) -> "RetryConfig":
        """As obstore takes it."""
        first, longest = timedelta(milliseconds=200), timedelta(seconds=10)
        backoff = {"init_backoff": first, "max_backoff": longest, "base": 2}
        return {"max_retries": 5, "retry_timeout": self.retry, "backoff": backoff}  # type: ignore[typeddict-item]


def connect(place: StorageUri, keys: Keys | None, patience: Patience) -> ObjectStore:
    """The client for a scheme that is an object store; without keys, with those that the pod's environment offers.

    Raises StorageError (SecretInvalid) for keys that the client cannot read.
    """
    values = {} if keys is None else keys.values
    try:
        match place.scheme:
            case "s3":
                return _s3(place, values if keys is not None else None, patience)
            case "gs":
                return _google(place, values, patience)
            case "az":
                return _azure(place, values, patience)
            case _:
                raise AssertionError(f"{place} is in no object store")
    except (BaseError, ValueError) as error:
        whose = f"Secret {keys.secret!r}" if keys is not None else "the pod's environment"
        names = " and ".join(NAMES[place.scheme].required)
        raise StorageError("SecretInvalid", f"{place}: {whose} has no {names} that can be used; correct it") from error


def _s3(place: StorageUri, values: Mapping[str, str] | None, patience: Patience) -> ObjectStore:
    given = values or {}
    config: S3Config = {}
    if region := given.get("AWS_REGION"):
        config["region"] = region
    if endpoint := given.get("AWS_ENDPOINT_URL"):
        config["endpoint"] = endpoint
    credential: S3Credential = {
        "access_key_id": given.get("AWS_ACCESS_KEY_ID", ""),
        "secret_access_key": given.get("AWS_SECRET_ACCESS_KEY", ""),
        "token": given.get("AWS_SESSION_TOKEN"),
        "expires_at": None,
    }
    return S3Store(
        place.host,
        prefix=place.path or None,
        config=config,
        client_options=patience.client(),
        retry_config=patience.retries(),
        # Not as configuration: a token in the environment would be sent along with the Secret's keys.
        credential_provider=None if values is None else lambda: credential,
    )


def _google(place: StorageUri, values: Mapping[str, str], patience: Patience) -> ObjectStore:
    config: GCSConfig = {}
    if key := values.get("GOOGLE_SERVICE_ACCOUNT_KEY"):
        config["service_account_key"] = key
    if endpoint := values.get("GOOGLE_BASE_URL"):
        config["base_url"] = endpoint
    return GCSStore(
        place.host,
        prefix=place.path or None,
        config=config,
        client_options=patience.client(),
        retry_config=patience.retries(),
    )


def _azure(place: StorageUri, values: Mapping[str, str], patience: Patience) -> ObjectStore:
    config: AzureConfig = {}
    if name := values.get("AZURE_STORAGE_ACCOUNT_NAME"):
        config["account_name"] = name
    if key := values.get("AZURE_STORAGE_ACCOUNT_KEY"):
        config["account_key"] = key
    if endpoint := values.get("AZURE_STORAGE_ENDPOINT"):
        config["endpoint"] = endpoint
    return AzureStore(
        place.host,
        prefix=place.path or None,
        config=config,
        client_options=patience.client(),
        retry_config=patience.retries(),
    )
