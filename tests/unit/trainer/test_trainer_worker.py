"""How a rank runs the user's script."""

import os
import sys
from pathlib import Path

import pytest

from modelyard_trainer import worker
from modelyard_trainer.outcome import RankFailure
from modelyard_trainer.worker import Script

SCRIPT = """
import os, sys
from helper import ANSWER
if __name__ == "__main__":
    with open("seen", "w") as seen:
        print(os.getcwd(), *sys.argv[1:], ANSWER, file=seen)
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    (tmp_path / "helper.py").write_text("ANSWER = 42")
    return tmp_path


def ended(code: Path, script: str) -> RankFailure | None:
    (code / "train.py").write_text(script)
    return worker._failure(Script(code=code, script="train.py", module=None, args=[]), rank=1)


@pytest.mark.parametrize(("script", "module"), [("train.py", None), (None, "train")])
def test_a_script_or_module_runs_as_main_in_the_folder_of_the_code(
    code: Path, script: str | None, module: str | None
) -> None:
    (code / "train.py").write_text(SCRIPT)
    os.chdir("/")
    Script(code=code, script=script, module=module, args=["--lr", "1"]).execute()
    assert (code / "seen").read_text() == f"{code} --lr 1 42\n"


@pytest.mark.parametrize("end", ["pass", "import sys; sys.exit()", "import sys; sys.exit(0)"])
def test_a_clean_end_is_no_failure(code: Path, end: str) -> None:
    assert ended(code, end) is None


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("import sys; sys.exit(3)", "rank 1 exited with code 3; its last lines in the log say why"),
        (
            "import sys; sys.exit('no data')",
            "rank 1: SystemExit: no data\n  train.py:1 in <module>: import sys; sys.exit('no data')",
        ),
        ("1 / 0", "rank 1: ZeroDivisionError: division by zero\n  train.py:1 in <module>: 1 / 0"),
    ],
)
def test_another_end_is_told(code: Path, end: str, message: str) -> None:
    failure = ended(code, end)
    assert failure is not None
    assert (failure.reason, failure.message) == ("ProcessError", message)
