import pytest
from pydantic import ValidationError

from modelyard.api.base import Model, Observed, rule, transition_rule


class Window(Model):
    from_step: int
    to_step: int | None = None

    @rule("!has(self.toStep) || self.fromStep <= self.toStep", "fromStep is after toStep")
    def _in_order(self) -> bool:
        return self.to_step is None or self.from_step <= self.to_step

    @transition_rule("self.fromStep >= oldSelf.fromStep", "fromStep cannot go back")
    def _forward(self, old: "Window") -> bool:
        return self.from_step >= old.from_step


class NamedWindow(Window):
    name: str

    @rule("self.name != ''", "name is empty")
    def _named(self) -> bool:
        return self.name != ""


def test_a_rule_holds_in_python() -> None:
    with pytest.raises(ValidationError, match="fromStep is after toStep"):
        Window(from_step=2, to_step=1)


def test_a_transition_rule_is_asked_only_for_an_update() -> None:
    old, new = Window(from_step=2), Window(from_step=1)
    assert (new.transition_errors(old), old.transition_errors(new)) == (["fromStep cannot go back"], [])


def test_a_model_has_the_rules_of_its_base_too() -> None:
    assert sorted(each.name for each in NamedWindow.validation_rules) == ["_forward", "_in_order", "_named"]
    with pytest.raises(ValidationError, match="fromStep is after toStep"):
        NamedWindow(name="a", from_step=2, to_step=1)


def test_fields_are_camel_case_on_the_wire_and_both_names_are_read() -> None:
    assert Window.model_validate({"fromStep": 1}) == Window(from_step=1)
    assert Window(from_step=1, to_step=2).model_dump() == {"fromStep": 1, "toStep": 2}


def test_a_field_that_a_user_misspelt_is_refused_and_one_that_others_wrote_is_ignored() -> None:
    class Seen(Observed):
        name: str

    assert Seen.model_validate({"name": "a", "other": 1}) == Seen(name="a")
    with pytest.raises(ValidationError, match="formStep"):
        Window.model_validate({"formStep": 1})


def test_a_model_cannot_be_changed() -> None:
    window = Window(from_step=1)
    with pytest.raises(ValidationError, match="frozen"):
        window.from_step = 2  # type: ignore[misc]
