"""Who may ask, and over what: a bearer token and TLS keys from files that may be replaced while the server runs."""

import hmac
import logging
import ssl
from pathlib import Path

from modelyard_server.errors import RequestError, StartError

log = logging.getLogger(__name__)

_CHALLENGE = ((b"www-authenticate", b"Bearer"),)


class Token:
    """The bearer token of a file (RFC 6750, section 2.1), without the white space around it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._changed: int | None = None
        self._value = b""
        self.refresh()
        if not self._value:
            raise StartError("TokenMissing", f"{file} is not there or empty; it must hold the bearer token")

    def refresh(self) -> None:
        """Read the file again if it has changed; what cannot be read changes nothing."""
        try:
            changed = self._file.stat().st_mtime_ns
            if changed != self._changed:
                self._value = self._file.read_bytes().strip() or self._value
                self._changed = changed
        except OSError as error:
            log.warning("%s: %s", self._file, error.strerror)

    def check(self, authorization: bytes | None) -> None:
        """Raise RequestError (401) unless the header's value carries the token."""
        scheme, _, given = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._value):
            raise RequestError("header Authorization: this service wants its bearer token", 401, _CHALLENGE)


class Tls:
    """A certificate chain and its key, ``tls.crt`` and ``tls.key`` of a folder, as Kubernetes' Secrets have them.

    ``protocol`` is what ALPN offers.
    """

    def __init__(self, folder: Path, protocol: str = "http/1.1") -> None:
        self._folder = folder
        self._changed: tuple[int, int] | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols([protocol])
        try:
            self._load()
        except (OSError, ssl.SSLError) as error:
            raise StartError("TlsKeysInvalid", f"{folder}: tls.crt and tls.key do not load: {error}") from error

    def refresh(self) -> None:
        """Use the present files for new connections; what does not load changes nothing."""
        try:
            self._load()
        except (OSError, ssl.SSLError) as error:
            log.warning("%s: %s", self._folder, error)

    def _load(self) -> None:
        chain, key = self._folder / "tls.crt", self._folder / "tls.key"
        changed = (chain.stat().st_mtime_ns, key.stat().st_mtime_ns)
        if changed != self._changed:
            self.context.load_cert_chain(chain, key)
            self._changed = changed
