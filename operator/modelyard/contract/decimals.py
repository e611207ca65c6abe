"""Numbers as decimal strings: Kubernetes objects carry no floats."""

import math
from typing import Annotated

from pydantic import Field

Decimal = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$", max_length=32)]
"""A number as a decimal string."""


def decimal(value: float, digits: int = 6) -> Decimal:
    """``value`` to ``digits`` significant digits as a decimal string; raises ValueError for NaN and infinities."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return f"{value:.{digits}g}"
