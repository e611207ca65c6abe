import pytest
import yaml
from pydantic import ValidationError

from modelyard.engine.validation import problems
from toy_kind import Toy


def found(text: str) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Toy.model_validate(yaml.safe_load(text))
    return problems(caught.value)


def test_each_problem_names_its_field_and_the_remedy() -> None:
    text = "{metadata: {name: a}, spec: {copies: many, txt: hello, text: 5}}"
    assert found(text) == [
        "spec.copies: input should be a valid integer, unable to parse string as an integer (got 'many')",
        "spec.text: input should be a valid string (got 5)",
        "spec.txt: unknown field; remove it or correct its spelling",
    ]


def test_a_missing_field_is_said_to_be_required() -> None:
    assert found("{metadata: {name: a}}") == ["spec: required"]


def test_the_message_of_a_rule_stands_as_it_is() -> None:
    assert found("{metadata: {name: 1a}, spec: {}}") == [
        "metadata.name: at most 45 characters, lower-case letters, digits and -, a letter first"
    ]
