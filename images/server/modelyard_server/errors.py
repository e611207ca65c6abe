"""What a client is told when its request is refused, and an operator when the server does not start."""

SHOWN_CHARACTERS = 64
RETRY_LATER: tuple[tuple[bytes, bytes], ...] = ((b"retry-after", b"1"),)


class StartError(Exception):
    """Why the server cannot start. ``reason`` is CamelCase for a condition, ``str(error)`` is for a person."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RequestError(Exception):
    """A refused request. ``str(error)`` names the field and the remedy, and is the answer's ``error``."""

    def __init__(self, message: str, status: int = 400, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class OverloadError(RequestError):
    """A request for which there is no room now, whose client is told when to try again."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}; try again", 503, RETRY_LATER)


def shown(value: object) -> str:
    """What a client sent, quoted for a message and cut to a bounded length."""
    if not isinstance(value, str | bytes | int | float | None):
        return f"a {type(value).__name__}"
    text = repr(value[:SHOWN_CHARACTERS] if isinstance(value, str | bytes) else value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
