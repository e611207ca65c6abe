"""Kubernetes quantities, as far as CPU and memory need them."""

from typing import Annotated

from pydantic import BeforeValidator, Field

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    Field(pattern=QUANTITY_PATTERN, max_length=24, json_schema_extra={"x-kubernetes-int-or-string": True}),
    BeforeValidator(_as_text),
]
"""A number with a unit; a whole number may stand without quotes."""
DecimalString = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$", max_length=32)]
"""A number as a decimal string: Kubernetes specs carry no floats."""

_FACTORS = {
    "m": 0.001, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


def parse_quantity(text: str) -> float:
    """The quantity in its base unit: cores, or bytes. Raises ValueError."""
    number = text.rstrip("mkKMGTi")
    return float(number) * _FACTORS[text[len(number) :]]


def whole_cores(limit: str | None) -> int:
    """Threads to run under a CPU limit: its cores rounded up, at least 1; 1 where there is no limit."""
    if limit is None:
        return 1
    return max(1, -int(-parse_quantity(limit) // 1))
