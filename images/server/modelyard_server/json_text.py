"""JSON text to an object, with the NaN and Infinity tokens that clients of both protocols send."""

import json

import orjson

from modelyard_server.errors import RequestError


def parse_object(text: bytes | memoryview) -> dict[str, object]:
    """The JSON object in ``text``. Raises RequestError.

    orjson refuses NaN, Infinity and -Infinity, which TensorFlow Serving allows
    (tensorflow_serving/g3doc/api_rest.md, "JSON conformance"), so the standard library has the second try.
    """
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError as refused:
        try:
            value = json.loads(bytes(text))
        except (ValueError, RecursionError):
            raise RequestError(f"body is not valid JSON: {refused}") from None
    if not isinstance(value, dict):
        raise RequestError("body must be a JSON object")
    return value
