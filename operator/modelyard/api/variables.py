"""Environment variables that a user sets, and those that Modelyard sets itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from modelyard.api.base import Model


class Variable(Model):
    """One environment variable."""

    name: Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """The variable's name."""
    value: Annotated[str, Field(max_length=4096)] = ""
    """The variable's value."""


@dataclass(frozen=True)
class Reserved:
    """Names that a user cannot set: ``names``, and all that start with one of ``prefixes``. Neither is empty."""

    names: Sequence[str]
    prefixes: Sequence[str]

    @property
    def cel(self) -> str:
        """The rule of a variable whose name is free, in CEL."""
        return (
            f"!(self.name in [{', '.join(repr(name) for name in self.names)}])"
            f" && !self.name.matches('^({'|'.join(self.prefixes)})')"
        )

    @property
    def message(self) -> str:
        """What to say of a variable whose name is not free."""
        listed = f"{', '.join(self.names)} and all that start with {', '.join(self.prefixes)}"
        return f"Modelyard sets this variable itself; choose another name (reserved names: {listed})"

    def holds(self, name: str) -> bool:
        """Whether the name is reserved."""
        return name in self.names or name.startswith(tuple(self.prefixes))
