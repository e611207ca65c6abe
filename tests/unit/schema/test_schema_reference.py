import pytest

from modelyard.api.resource import Resource
from modelyard.engine.kind import Kind
from modelyard.kinds import KINDS
from modelyard.schema.reference import reference


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind[Resource]:
    found: Kind[Resource] = request.param
    return found


def section(kind: Kind[Resource], title: str) -> list[str]:
    """The lines below a heading, up to the next one."""
    _, _, rest = reference(kind).partition(f"\n{title}\n")
    return rest.partition("\n#")[0].strip().splitlines()


def test_a_field_is_a_row_with_its_path_type_default_and_description() -> None:
    rows = section(KINDS[0], "## spec")
    assert "| `nodes` | integer, 1 to 1024 | `1` | Number of pods. |" in rows
    assert "| `gates[].metric` | string | required | A name that run.save(metrics=...) reported. |" in rows
    assert any(
        row.startswith("| `gates[].op` | one of `GreaterOrEqual`, `LessOrEqual` | `GreaterOrEqual` |") for row in rows
    )
    assert any(row.startswith("| `pod.nodeSelector` | map of string |  |") for row in rows)


def test_a_default_that_is_a_list_is_short() -> None:
    rows = section(KINDS[1], "## spec")
    assert "| `recipe` | list of object | `optimise`, `quantize` | The steps, in order. |" in rows
    assert any(row.startswith("| `recipe[].quantize.perChannel` | list of boolean | `true`, `false` |") for row in rows)


def test_a_rule_is_told_with_the_field_that_it_belongs_to() -> None:
    rules = section(KINDS[2], "## Rules")
    assert [rules[0], *(rule for rule in rules if "spec.model" in rule)] == [
        "- metadata.name: at most 45 characters, lower-case letters, digits and -, a letter first",
        "- `spec.model`: set exactly one of compressionJob, trainingJob and artifact",
        "- `spec.model.artifact`: secretRef is for s3://, gs:// and az:// only: a claim is mounted and needs no keys",
    ]


def test_every_condition_and_state_is_explained(kind: Kind[Resource]) -> None:
    conditions = [row.split("`")[1] for row in section(kind, "### Conditions")[2:]]
    states = [row.split("`")[1] for row in section(kind, "### States")[2:]]
    assert conditions == ["Accepted", "Reconciling", "Stalled", *kind.conditions]
    assert states == ["Refused", "Blocked", *kind.states]


def test_every_row_has_as_many_cells_as_its_head(kind: Kind[Resource]) -> None:
    rows = [line for line in reference(kind).splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {3, 4, 5}
    assert all(row.endswith("|") and "<claim>" not in row for row in rows)
