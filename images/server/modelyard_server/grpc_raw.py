"""The raw tensors of a ModelInferRequest where they lie: protobuf's own reader copies each of them twice. Pure.

Source: protobuf.dev/programming-guides/encoding; field 7 of open_inference_grpc.proto.
"""

WORTH = 16 * 1024
"""A shorter message is read sooner by protobuf's own reader."""
_RAW = 7 << 3 | 2
_FIXED = {1: 8, 5: 4}
_LENGTH, _VARINT = 2, 0
_VARINT_BYTES = 5
_FIELDS = 1000
"""So many fields are looked at, of which a request needs one for each tensor and a few."""


def split(message: bytes | memoryview) -> tuple[bytes, list[tuple[int, int]]]:
    """The message without its raw tensors, and where each of these begins and ends in it.

    A message that is not well-formed, or is strange, comes back as it is, so that protobuf's reader says what it is.
    """
    kept: list[bytes] = []
    raw: list[tuple[int, int]] = []
    at, size = 0, len(message)
    for _ in range(_FIELDS):
        if at == size:
            return b"".join(kept), raw
        start = at
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _LENGTH:
            length, at = _varint(message, at)
        elif kind == _VARINT:
            length, at = 0, _varint(message, at)[1]
        else:
            length = _FIXED.get(kind, size + 1)
        end = at + length
        if at < 0 or end > size:
            break
        if tag == _RAW:
            raw.append((at, end))
        else:
            kept.append(bytes(message[start:end]))
        at = end
    return bytes(message), []


def _varint(message: bytes | memoryview, at: int) -> tuple[int, int]:
    """The number that begins there, and where what follows it begins; the latter is negative where there is none."""
    value = 0
    if at >= 0:
        for count, byte in enumerate(message[at : at + _VARINT_BYTES]):
            value |= (byte & 0x7F) << 7 * count
            if byte < 0x80:
                return value, at + count + 1
    return 0, -1
