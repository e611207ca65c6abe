"""The certificate of the progress server, kept in a Secret so that pods go on trusting it after a restart."""

import base64
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modelyard.api.metadata import JsonObject
from modelyard.clusters.kube.client import NOT_FOUND, ApiError, KubeClient

SECRET = "modelyard-progress"  # noqa: S105  a name
VALID = timedelta(days=3650)
"""Delete the Secret, and restart the operator, for another one; running pods are given it too."""


@dataclass(frozen=True)
class Certificate:
    """A certificate that signs itself, and its key, both as PEM."""

    certificate: bytes
    key: bytes

    def context(self) -> ssl.SSLContext:
        """For a server. The key is never a file: the root file system is read-only. Linux only; raises OSError."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        file = os.memfd_create("certificate")
        try:
            os.write(file, self.certificate + self.key)
            context.load_cert_chain(f"/proc/self/fd/{file}")
        finally:
            os.close(file)
        return context

    def valid_for(self, host: str, now: datetime) -> bool:
        """Whether it names the host, and has a day left."""
        found = x509.load_pem_x509_certificate(self.certificate)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return host in names.get_values_for_type(x509.DNSName) and now + timedelta(days=1) < found.not_valid_after_utc


def make_certificate(hosts: Sequence[str], now: datetime) -> Certificate:
    """A new one for these DNS names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "modelyard progress")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


class CertificateError(Exception):
    """The kept certificate is of no use; the message says what to do."""


async def kept_certificate(client: KubeClient, namespace: str, host: str) -> Certificate:
    """The certificate in the Secret of that namespace, which is made where it is missing.

    Raises ApiError, and CertificateError where it names another host, or its time is over.
    """
    collection = f"/api/v1/namespaces/{namespace}/secrets"
    now = datetime.now(UTC)
    try:
        kept = _read(await client.request("GET", f"{collection}/{SECRET}"))
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        return await _made(client, collection, host, now)
    if kept is None or not kept.valid_for(host, now):
        raise CertificateError(f"Secret {namespace}/{SECRET} holds no certificate for {host}; delete it for a new one")
    return kept


async def _made(client: KubeClient, collection: str, host: str, now: datetime) -> Certificate:
    made = make_certificate([host], now)
    metadata: JsonObject = {"name": SECRET, "labels": {"app.kubernetes.io/managed-by": "modelyard"}}
    data: JsonObject = {"tls.crt": _encoded(made.certificate), "tls.key": _encoded(made.key)}
    body: JsonObject = {
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data,
    }  # fmt: skip
    await client.request("POST", collection, body=body)
    return made


def _read(secret: JsonObject | None) -> Certificate | None:
    data = secret.get("data") if secret is not None else None
    if not isinstance(data, dict) or not data.get("tls.crt") or not data.get("tls.key"):
        return None
    return Certificate(base64.b64decode(str(data["tls.crt"])), base64.b64decode(str(data["tls.key"])))


def _encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()
