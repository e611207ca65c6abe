"""What ranks print, copied to the pod's streams line by line with the rank in front."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from selectors import EVENT_READ, DefaultSelector
from typing import BinaryIO

_CHUNK = 65536
_LONGEST_LINE = 8192
_CLOSE_SECONDS = 5.0
ANNOUNCEMENT = b"\x01modelyard rank "


@dataclass(frozen=True)
class Streams:
    """The write ends of one rank's pipes. They travel to the rank through the fork server."""

    stdout: Connection
    stderr: Connection


class LinePrefix:
    """Turns chunks of bytes into whole lines with ``[rank N] `` in front.

    A rank announces itself in a line of its own: the launcher opens the pipes before the rendezvous gives out ranks,
    and the next generation of ranks, which writes to the same pipes, may have other numbers.
    """

    def __init__(self) -> None:
        self._prefix = b""
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """The lines that ``chunk`` completes; a line beyond 8 KiB is broken."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        return b"".join(map(self._told, lines))

    def _told(self, line: bytes) -> bytes:
        # A rank that was killed leaves half a line, and the next one's announcement behind it.
        text, announced, rank = line.partition(ANNOUNCEMENT)
        told = b"%s%s\n" % (self._prefix, text) if text or not announced else b""
        if announced:
            self._prefix = b"[rank %s] " % rank
        return told

    def close(self) -> bytes:
        """The last line, if it has no end of its own."""
        return self.feed(b"\n") if self._rest else b""


@contextmanager
def relayed(ranks: int) -> Iterator[list[Streams]]:
    """The streams for ``ranks`` local ranks, copied by a thread until all are closed."""
    streams: list[Streams] = []
    selector = DefaultSelector()
    for _ in range(ranks):
        (out_reader, out_writer), (err_reader, err_writer) = Pipe(duplex=False), Pipe(duplex=False)
        selector.register(out_reader, EVENT_READ, (LinePrefix(), sys.stdout.buffer))
        selector.register(err_reader, EVENT_READ, (LinePrefix(), sys.stderr.buffer))
        streams.append(Streams(out_writer, err_writer))
    thread = threading.Thread(target=_copy, args=(selector,), name="rank-output", daemon=True)
    thread.start()
    try:
        yield streams
    finally:
        for stream in streams:
            stream.stdout.close()
            stream.stderr.close()
        # A process that a rank left behind may hold a pipe open: do not wait for it.
        thread.join(_CLOSE_SECONDS)


def redirect(streams: Streams, rank: int) -> None:
    """Send this process's stdout and stderr, and those of its children, to ``streams``."""
    for stream, connection in ((sys.stdout, streams.stdout), (sys.stderr, streams.stderr)):
        stream.flush()
        os.dup2(connection.fileno(), stream.fileno())
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True)
        stream.write(f"{ANNOUNCEMENT.decode()}{rank}\n")


def _copy(selector: DefaultSelector) -> None:
    with selector:
        while selector.get_map():
            for key, _ in selector.select():
                prefix: LinePrefix
                target: BinaryIO
                prefix, target = key.data
                chunk = os.read(key.fd, _CHUNK)
                target.write(prefix.feed(chunk) if chunk else prefix.close())
                target.flush()
                if not chunk:
                    selector.unregister(key.fileobj)
