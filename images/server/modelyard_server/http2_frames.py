"""HTTP/2 frames as bytes, and the errors that end a connection or a stream. Pure.

Source: RFC 9113, sections 4 (form), 6 (frames) and 7 (error codes).
"""

import struct
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (section 3.4)."""

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

FRAME_BYTES: Final = 16_384
"""The longest payload that every peer takes, and that is taken here."""
WINDOW_BYTES: Final = 65_535
"""A window before anybody says otherwise."""
LARGEST: Final = 2**31 - 1
"""Of stream numbers and of windows."""

Payload = bytes | memoryview
"""Of a frame that was read."""
HEAD: Final = struct.Struct(">IBI")
"""Length and type, flags, stream."""
HEAD_BYTES: Final = 9
SETTING: Final = struct.Struct(">HI")
NUMBER: Final = struct.Struct(">I")


class Code(IntEnum):
    """Why a stream or a connection ends (section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    ENHANCE_YOUR_CALM = 0xB


class Http2Error(Exception):
    """What ends the connection, with the code and the text that its GOAWAY carries."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join([SETTING.pack(*pair) for pair in pairs]))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, NUMBER.pack(increment))


def rst_stream(stream: int, code: Code) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, NUMBER.pack(code))


def goaway(last: int, code: Code, text: str = "") -> bytes:
    """A GOAWAY frame: streams above ``last`` were not looked at."""
    return frame(GOAWAY, 0, 0, NUMBER.pack(last) + NUMBER.pack(code) + text.encode())


def content(payload: Payload, flags: int) -> Payload:
    """A payload of DATA or HEADERS without its padding. Raises Http2Error."""
    if not flags & PADDED:
        return payload
    if not payload:
        raise Http2Error(Code.FRAME_SIZE_ERROR, "a padded frame says how much padding it has")
    padding = payload[0]
    if padding >= len(payload):
        raise Http2Error(Code.PROTOCOL_ERROR, "padding is as long as its frame")
    return payload[1 : len(payload) - padding]


def block(payload: Payload, flags: int) -> bytes:
    """The piece of a header block in a HEADERS frame. Raises Http2Error."""
    found = bytes(content(payload, flags))
    if not flags & PRIORITISED:
        return found
    if len(found) < 5:
        raise Http2Error(Code.FRAME_SIZE_ERROR, "HEADERS with priority has at least five bytes")
    return found[5:]


def number(payload: Payload) -> int:
    """The number of four bytes that is all there is to a payload. Raises Http2Error."""
    if len(payload) != 4:
        raise Http2Error(Code.FRAME_SIZE_ERROR, "the frame is not of four bytes")
    return int.from_bytes(payload, "big")


def check_control(kind: int, flags: int, number: int, payload: Payload) -> None:
    """Raise Http2Error for a frame that is neither of a request nor of a window, and has not the form of its type."""
    if kind == PUSH_PROMISE:
        raise Http2Error(Code.PROTOCOL_ERROR, "a client promises nothing")
    if kind == PRIORITY and number == 0:
        raise Http2Error(Code.PROTOCOL_ERROR, "PRIORITY is of a stream")
    if kind in (SETTINGS, PING, GOAWAY) and number != 0:
        raise Http2Error(Code.PROTOCOL_ERROR, "the frame is of the connection")
    length = len(payload)
    wrong = (
        (kind == PRIORITY and length != 5)
        or (kind == PING and length != 8)
        or (kind == GOAWAY and length < 8)
        or (kind == SETTINGS and (length % 6 or (flags & ACK and length)))
    )
    if wrong:
        raise Http2Error(Code.FRAME_SIZE_ERROR, "the payload has not the length of its type")


def read_settings(payload: Payload) -> list[tuple[int, int]]:
    """The settings of a payload of whole ones; raises Http2Error for a value out of its range (section 6.5.2)."""
    found = list(SETTING.iter_unpack(payload))
    for name, value in found:
        if name == ENABLE_PUSH and value > 1:
            raise Http2Error(Code.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        if name == INITIAL_WINDOW_SIZE and value > LARGEST:
            raise Http2Error(Code.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too large")
        if name == MAX_FRAME_SIZE and not FRAME_BYTES <= value < 1 << 24:
            raise Http2Error(Code.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of its range")
    return found
