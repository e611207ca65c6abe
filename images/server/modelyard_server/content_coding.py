"""A compressed body, inflated up to a limit (RFC 9110, section 8.4.1)."""

import zlib

from modelyard_server.errors import RequestError, shown


def inflate(body: bytes | memoryview, encoding: bytes, limit: int) -> bytes | memoryview:
    """``body`` without its content encoding; never more than ``limit`` bytes and one are made of it.

    Raises RequestError: 413 when it is larger, 400 when it does not decompress.
    """
    match encoding.strip().lower():
        case b"identity":
            return body
        case b"gzip" | b"x-gzip":
            decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)
        case b"deflate":
            decompressor = zlib.decompressobj(zlib.MAX_WBITS)
        case _:
            raise RequestError(f"header Content-Encoding: {shown(encoding)} is unknown; use gzip or deflate")
    try:
        inflated = decompressor.decompress(body, limit + 1)
    except zlib.error:
        raise RequestError("body does not decompress as its Content-Encoding says") from None
    if len(inflated) > limit:
        raise too_large(limit)
    if not decompressor.eof or decompressor.unused_data:
        raise RequestError("body ends before or after its compressed data does")
    return inflated


def too_large(limit: int) -> RequestError:
    """The refusal of a body above the limit."""
    return RequestError(f"body is larger than {limit} bytes; send fewer rows at once", 413)
