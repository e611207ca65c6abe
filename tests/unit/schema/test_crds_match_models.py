from pathlib import Path

import pytest

from modelyard.kinds import KINDS
from modelyard.schema.generate import files

ROOT = Path(__file__).parents[3]
GENERATED = files(KINDS)


@pytest.mark.parametrize("name", GENERATED)
def test_a_committed_file_is_what_the_models_say(name: str) -> None:
    path = ROOT / name
    committed = path.read_text() if path.exists() else ""
    assert committed == GENERATED[name], f"{name} is out of date; run: make generate"


def test_no_crd_of_a_kind_that_is_gone_is_left() -> None:
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "crds").iterdir()}
    assert there == {name for name in GENERATED if name.startswith("crds/")}


def test_no_crd_of_a_kind_that_is_gone_is_left_in_the_chart() -> None:
    folder = "charts/modelyard/templates/crds"
    there = {str(path.relative_to(ROOT)) for path in (ROOT / folder).iterdir()}
    assert there == {name for name in GENERATED if name.startswith(folder)}
