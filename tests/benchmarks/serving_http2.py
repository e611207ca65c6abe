"""One HTTP/2 connection that asks for the same gRPC call again and again, by hand and with each byte built once.

It tells the server to keep no table of header fields, so that equal header blocks mean the same at any time.
"""

import asyncio
import struct
import time
from collections import deque
from typing import Protocol

from hpack import Decoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
LARGEST = 2**31 - 1
FRAME_BYTES = 16_384
_HEAD = struct.Struct(">IBI")


class Tally(Protocol):
    """Counts answers."""

    finished: asyncio.Event

    def answer(self, since: float, *, good: bool) -> bool:
        """Count an answer to a request of the time ``since``; whether to go on."""
        ...


class Call:
    """One call whose answer is missing."""

    __slots__ = ("good", "sent", "since", "window")

    def __init__(self, since: float, window: int) -> None:
        self.since = since
        self.window = window
        self.sent = 0
        self.good = False


class GrpcClient(asyncio.Protocol):
    """``places`` calls at once."""

    def __init__(self, authority: str, path: str, message: bytes, tally: Tally, places: int) -> None:
        self._body = b"\0" + len(message).to_bytes(4, "big") + message
        self._first, self._block = header_blocks(authority.encode(), path.encode())
        self._tally = tally
        self._places = places
        self._transport: asyncio.Transport
        self._out: list[bytes] = []
        self._rest = b""
        self._next = 1
        self._calls: dict[int, Call] = {}
        self._sending: deque[int] = deque()
        """Calls whose message waits for a window, in order."""
        self._window = self._initial = 65_535
        self._received = 0
        self._blocks: dict[bytes, int | None] = {}
        self._greeted = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        settings = struct.pack(">HIHIHI", 1, 0, 2, 0, 4, LARGEST)  # no header table, no push, the largest window
        transport.write(PREFACE + frame(SETTINGS, 0, 0, settings) + window_update(LARGEST - 65_535))

    def _ask(self) -> None:
        """Make a call."""
        number = self._next
        self._next += 2
        call = self._calls[number] = Call(time.perf_counter(), self._initial)
        block = self._block if number > 1 else self._first
        self._out.append(frame(HEADERS, 4, number, block))
        size = len(self._body)
        if not self._sending and size <= min(FRAME_BYTES, self._window, self._initial):
            self._window -= size
            call.sent = size
            self._out.append(frame(DATA, 1, number, self._body))
        else:
            self._sending.append(number)
            self._send()

    def _send(self) -> None:
        """Send what the windows allow."""
        while self._sending and self._window > 0:
            number = self._sending[0]
            call = self._calls.get(number)
            if call is not None:
                count = min(len(self._body) - call.sent, call.window, self._window, FRAME_BYTES)
                if count <= 0:
                    return
                piece = self._body[call.sent : call.sent + count]
                call.sent += count
                call.window -= count
                self._window -= count
                ends = call.sent == len(self._body)
                self._out.append(frame(DATA, int(ends), number, piece))
                if not ends:
                    continue
            self._sending.popleft()

    def _write(self) -> None:
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at, end = 0, len(data)
        while end - at >= 9:
            word, flags, number = _HEAD.unpack_from(data, at)
            length = word >> 8
            if end - at - 9 < length:
                break
            self._take(word & 0xFF, flags, number, data[at + 9 : at + 9 + length])
            at += 9 + length
        self._rest = data[at:]
        self._write()

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == DATA:
            self._received += len(payload)
            if self._received > 1 << 29:
                self._out.append(window_update(self._received))
                self._received = 0
        elif kind == HEADERS:
            assert flags & 4, "header blocks of several frames are not read here"
            call = self._calls.get(number)
            status = self._status(payload)
            if call is not None and status is not None:
                call.good = status == 0
            if flags & 1:
                self._answered(number)
        elif kind == RST_STREAM:
            self._answered(number)
        else:
            self._take_control(kind, flags, number, payload)

    def _take_control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & 1:
            self._settle(payload)
        elif kind == PING and not flags & 1:
            self._out.append(frame(PING, 1, 0, payload))
        elif kind == WINDOW_UPDATE:
            increment = int.from_bytes(payload, "big")
            if number == 0:
                self._window += increment
            elif number in self._calls:
                self._calls[number].window += increment
            self._send()
        elif kind == GOAWAY:
            self._tally.finished.set()

    def _settle(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == 4:
                for call in self._calls.values():
                    call.window += value - self._initial
                self._initial = value
        self._out.append(frame(SETTINGS, 1, 0))
        self._send()
        if not self._greeted:
            self._greeted = True
            for _ in range(self._places):
                self._ask()

    def _status(self, block: bytes) -> int | None:
        """The grpc-status in a header block; None where there is none."""
        if block not in self._blocks:
            decoder = Decoder()
            decoder.header_table_size = decoder.max_allowed_table_size = 0
            status = dict(decoder.decode(block, raw=True)).get(b"grpc-status")
            self._blocks[block] = None if status is None else int(status)
        return self._blocks[block]

    def _answered(self, number: int) -> None:
        call = self._calls.pop(number, None)
        if call is None:
            return
        if self._tally.answer(call.since, good=call.good):
            self._ask()
        else:
            self._tally.finished.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._tally.finished.set()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def window_update(increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, 0, increment.to_bytes(4, "big"))


def header_blocks(authority: bytes, path: bytes) -> tuple[bytes, bytes]:
    """The first block, from which the server learns four fields, and all later ones, which repeat them by number."""
    known = b"\x83\x86"  # POST, http
    learnt = (
        (b"\x44", path),
        (b"\x41", authority),
        (b"\x5f", b"application/grpc"),
        (b"\x40\x02te", b"trailers"),
    )
    first = known + b"".join([name + bytes([len(value)]) + value for name, value in learnt])
    return first, known + bytes([0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62])
