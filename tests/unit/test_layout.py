import operator
from pathlib import Path

import modelyard
from modelyard import kinds
from modelyard.kinds import KINDS

ROOT = Path(__file__).parents[2]


def test_the_operator_folder_does_not_hide_the_standard_library() -> None:
    assert operator.itemgetter(0)("ab") == "a"
    assert Path(modelyard.__file__).is_relative_to(ROOT / "operator")


def test_every_folder_of_kinds_is_listed() -> None:
    (folder,) = kinds.__path__
    folders = {path.parent.name for path in Path(folder).glob("*/__init__.py")}
    assert {kind.name.lower() for kind in KINDS} == folders


def test_no_module_is_longer_than_300_lines() -> None:
    modules = [*ROOT.glob("operator/**/*.py"), *ROOT.glob("images/**/*.py"), *ROOT.glob("tests/**/*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules}
    assert {path: length for path, length in lengths.items() if length > 300} == {}


def test_the_names_of_test_modules_are_unique() -> None:
    names = [path.name for path in ROOT.glob("tests/**/*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))
