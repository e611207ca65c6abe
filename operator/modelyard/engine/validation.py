"""Validation errors as people read them: the field, what is wrong, the remedy."""

from pydantic import ValidationError
from pydantic_core import ErrorDetails


def problems(error: ValidationError) -> list[str]:
    """One line a problem, each starting with the path of the field."""
    return [_line(detail) for detail in error.errors(include_url=False, include_input=True)]


def _line(detail: ErrorDetails) -> str:
    path = _path(detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    match detail["type"]:
        case "extra_forbidden":
            return f"{path}: unknown field; remove it or correct its spelling"
        case "missing":
            return f"{path}: required"
        case "value_error":
            return f"{path}: {message}" if path else message
        case _:
            value = detail["input"]
            shown = f" (got {value!r})" if isinstance(value, str | int | float | bool) else ""
            return f"{path}: {message[:1].lower()}{message[1:]}{shown}"


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
