"""The bases of API models, and rules that hold both in Python and, as CEL, in the API server."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from pydantic import ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from modelyard.contract.base import Document

Checked = TypeVar("Checked")


@dataclass(frozen=True)
class Rule:
    """One validation rule. ``transition`` rules compare with the old object and run on update only."""

    cel: str
    message: str
    name: str
    transition: bool


def rule(cel: str, message: str) -> Callable[[Callable[[Checked], bool]], Callable[[Checked], bool]]:
    """Make a method ``(self) -> bool`` a validation rule; ``cel`` says the same to the API server."""
    return _marker(cel, message, transition=False)


def transition_rule(
    cel: str, message: str
) -> Callable[[Callable[[Checked, Checked], bool]], Callable[[Checked, Checked], bool]]:
    """Make a method ``(self, old) -> bool`` a rule for updates; ``cel`` uses ``self`` and ``oldSelf``."""
    return _marker(cel, message, transition=True)


def unchanged(*fields: str) -> str:
    """CEL of a transition rule by which none of these fields, given by their Python names, may change."""
    names = [to_camel(field) for field in fields]
    return " && ".join(
        f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"
        for name in names
    )


def _marker(cel: str, message: str, *, transition: bool) -> Callable[[Any], Any]:
    def mark(method: Any) -> Any:  # noqa: ANN401  a decorator of either form
        method.validation_rule = Rule(cel, message, method.__name__, transition)
        return method

    return mark


class Model(Document):
    """A frozen part of an API object, camelCase on the wire, unknown fields refused, with rules of its own."""

    model_config = ConfigDict(hide_input_in_errors=True)
    validation_rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:  # noqa: ANN401  pydantic's signature
        marked = [getattr(member, "validation_rule", None) for base in cls.__mro__ for member in vars(base).values()]
        cls.validation_rules = tuple(found for found in marked if isinstance(found, Rule))

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        for each in self.validation_rules:
            if not each.transition and not getattr(self, each.name)():
                raise ValueError(each.message)
        return self

    def transition_errors(self, old: Self) -> list[str]:
        """The messages of the transition rules that an update from ``old`` breaks."""
        return [each.message for each in self.validation_rules if each.transition and not getattr(self, each.name)(old)]


class Observed(Document):
    """A frozen part of an object that others write too: fields that we do not use are ignored, and no rules hold."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)
