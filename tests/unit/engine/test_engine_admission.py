import datetime as dt
from typing import cast

from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.api.resource import Resource
from modelyard.engine import admission
from modelyard.engine.kind import Kind
from toy_kind import KIND, config_map, toy


def check(*bodies: JsonObject, stored: tuple[JsonObject, ...] = ()) -> list[str]:
    lookup = {ObjectKey(str(body["kind"]), "default", name_of(body)): body for body in stored}
    kinds = {"Toy": cast("Kind[Resource]", KIND)}
    return [str(problem) for problem in admission.check(bodies, kinds, lookup.get)]


def name_of(body: JsonObject) -> str:
    metadata = body["metadata"]
    assert isinstance(metadata, dict)
    return str(metadata["name"])


def test_a_file_whose_references_it_brings_itself_may_be_stored() -> None:
    assert check(toy("a", "{source: origin}"), config_map("origin", "text")) == []


def test_a_reference_to_nothing_is_named() -> None:
    assert check(toy("a", "{source: origin}")) == [
        "Toy a: spec.source: ConfigMap 'origin' not found; add it or correct the name"
    ]


def test_a_reference_to_what_is_stored_is_fine() -> None:
    assert check(toy("a", "{source: origin}"), stored=(config_map("origin", "text"),)) == []


def test_every_problem_of_every_object_is_told() -> None:
    assert check(
        toy("a", "{copies: 12}"), {"kind": "Toi", "metadata": {"name": "b"}}, {**toy("c"), "apiVersion": "v1"}
    ) == [
        "Toy a: spec.copies: input should be less than or equal to 9 (got 12)",
        "Toi b: kind: 'Toi' is not known here; use one of Toy, ConfigMap, Secret, PersistentVolumeClaim",
        "Toy c: apiVersion: 'v1' is not served for Toy; write modelyard.dev/v1alpha1",
    ]


def test_an_object_given_twice_is_refused() -> None:
    assert check(toy("a"), toy("a")) == ["Toy a: metadata.name: given twice in this file"]


def test_a_file_name_whose_content_is_no_text_is_refused() -> None:
    broken: JsonObject = {**config_map("origin", "text"), "data": {"train.py": 1}}
    assert check(broken) == ["ConfigMap origin: data.train.py: input should be a valid string (got 1)"]


def test_a_secret_that_is_not_base64_is_refused() -> None:
    secret: JsonObject = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"key": "%"}}
    [problem] = check(secret)
    assert problem.startswith("Secret s: data.key: ")


def test_a_name_that_no_cluster_takes_is_refused() -> None:
    body = config_map("my_code", "text")
    assert check(body) == [
        "ConfigMap my_code: metadata.name: 'my_code' is no name; use lower-case letters, digits, - and ."
    ]


def test_what_json_cannot_say_is_refused() -> None:
    dated = {**config_map("origin", "text"), "data": {"day": dt.date(2026, 11, 24)}}
    [problem] = check(dated)  # type: ignore[arg-type]  # YAML reads dates
    assert "put dates and the like in quotes" in problem
