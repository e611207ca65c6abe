"""A request's body, put together as it arrives: in one piece where it can be, and so that tensors in it are views."""

import numpy as np

ALIGNMENT = 64
"""Bytes; what the widest vector instructions like, and more than any datatype needs."""
_WORTH = 16 * 1024
"""A shorter body is cheaper through the parser than past it."""


class Body:
    """A body that is arriving. With an announced size it ends up in one buffer, whatever the pieces."""

    __slots__ = ("_chunks", "_direct", "_lead", "received", "size")

    def __init__(self, size: int | None, lead: int = 0) -> None:
        self.size = size
        """Announced bytes; None for a chunked body."""
        self.received = 0
        self._lead = lead
        self._direct: memoryview | None = None
        self._chunks: list[bytes] = []

    def add(self, data: bytes | memoryview) -> None:
        """Take a piece, of which no view is kept; it never has more than is left."""
        self.received += len(data)
        if self.size is None or len(data) == self.size:
            self._chunks.append(bytes(data))
            return
        if self._direct is None:
            self._direct = aligned(self.size, self._lead)
        self._direct[self.received - len(data) : self.received] = data

    @property
    def rest(self) -> memoryview | None:
        """Where the rest of an announced body is to be received without a parser; None where that is not worth it."""
        if self.size is None or self.received == self.size:
            return None
        if self._direct is None:
            if self.size < _WORTH:
                return None
            self._direct = aligned(self.size, self._lead)
        return self._direct[self.received :]

    def whole(self) -> bytes | memoryview:
        """The body, once it is complete."""
        if self._direct is not None:
            return self._direct
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)


def aligned(size: int, lead: int) -> memoryview:
    """A new buffer of ``size`` bytes whose byte ``lead`` has an address that every datatype may have.

    ``lead`` is where a JSON head ends and the first raw tensor begins. The memory is not cleared, so that a body that
    is announced and never sent costs address space only.
    """
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -(memory.ctypes.data + lead) % ALIGNMENT
    return memory.data[start : start + size]
