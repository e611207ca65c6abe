from pathlib import Path

import pytest

from modelyard.contract import layout
from modelyard.contract.reports import Termination
from modelyard_server.__main__ import main


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, "No such file or directory"),
        ("{", "Invalid JSON"),
        ('{"name": "x"}', "artifact: Field required"),
        ('{"name": "x", "artifact": {"uri": "file:///x", "digest": "md5"}}', "artifact.digest: "),
    ],
)
def test_a_bad_run_file_is_said_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str | None,
    error: str,
) -> None:
    monkeypatch.setenv(layout.ROOT_VARIABLE, str(tmp_path))
    (tmp_path / layout.CONFIG).mkdir()
    if text is not None:
        layout.run_file().write_text(text)
    assert main() == 1
    termination = Termination.model_validate_json((tmp_path / layout.TERMINATION_LOG).read_text())
    assert (termination.outcome, termination.reason) == ("Failed", "RunFileInvalid")
    assert error in termination.message
    assert capsys.readouterr().err == f"RunFileInvalid: {termination.message}\n"


def test_a_pod_without_a_root_still_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(layout.ROOT_VARIABLE, str(tmp_path / "nowhere"))
    assert main() == 1
    assert capsys.readouterr().err.startswith("RunFileInvalid: ")
