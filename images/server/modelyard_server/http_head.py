"""The head of a request as it is read: its fields within limits, and what they say of the body."""

from modelyard_server.http_messages import Limits, Response, json_response

_JSON_SIZE = b"inference-header-content-length"


class HeadReader:
    """Collects one head after the other. Its errors are answers, after which the connection ends."""

    __slots__ = ("_count", "_limits", "_size", "fields", "target")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.clear()

    def clear(self) -> None:
        """Begin with the next request."""
        self.target = b""
        self.fields: dict[bytes, bytes] = {}
        self._count = 0
        self._size = 0

    def add(self, name: bytes, value: bytes) -> None:
        """Take a field. What is above the limit is not kept."""
        self._size += len(name) + len(value)
        self._count += 1
        if self._size > self._limits.head or self._count > self._limits.headers:
            return
        name = name.lower()
        present = self.fields.get(name)
        self.fields[name] = value if present is None else b"%b, %b" % (present, value)

    def wrong(self, version: str) -> Response | None:
        """Why the head is no request that can be answered, or None."""
        if self._size + len(self.target) > self._limits.head or self._count > self._limits.headers:
            return self.too_large()
        host = self.fields.get(b"host")
        if version == "1.1" and (host is None or b"," in host):
            return json_response({"error": "header Host: HTTP/1.1 wants exactly one"}, 400)
        if version not in ("1.0", "1.1"):
            return json_response({"error": "HTTP/1.0 and HTTP/1.1 are spoken here"}, 505)
        if self.fields.get(b"expect", b"100-continue").lower() != b"100-continue":
            return json_response({"error": "header Expect: only 100-continue is known"}, 417)
        coding = self.fields.get(b"transfer-encoding")
        if coding is not None and coding.strip().lower() != b"chunked":
            return json_response({"error": "header Transfer-Encoding: only chunked is known"}, 501)
        return None

    def too_large(self) -> Response:
        """The answer to a head above the limits."""
        limits = self._limits
        return json_response({"error": f"head is larger than {limits.head} bytes or {limits.headers} fields"}, 431)

    def without_upgrade(self, method: bytes) -> bytes | None:
        """The same head as bytes, without the wish for another protocol; None for CONNECT, which is one itself."""
        if method == b"CONNECT":
            return None
        close = b"close" in self.fields.get(b"connection", b"").lower()
        kept = {name: value for name, value in self.fields.items() if name not in (b"upgrade", b"connection")}
        kept |= {b"connection": b"close"} if close else {}
        lines = b"".join(b"%b: %b\r\n" % field for field in kept.items())
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, self.target, lines)

    @property
    def expects(self) -> bool:
        """Whether the client waits for 100 Continue before it sends the body."""
        return b"expect" in self.fields

    def body_size(self) -> int | None:
        """The announced size of the body in bytes, None for a chunked one. The parser has refused what is no number."""
        if b"transfer-encoding" in self.fields:
            return None
        return int(self.fields.get(b"content-length", b"0"))

    def lead(self) -> int:
        """Where in the body the first raw tensor begins, as far as the head says; 0 otherwise."""
        value = self.fields.get(_JSON_SIZE, b"0")
        return int(value) if value.isdigit() and len(value) < 10 else 0
