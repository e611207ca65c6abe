"""Finding and opening the report of a CompressionJob."""

from pathlib import Path

import pytest

from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.cli.errors import BadInput
from modelyard.cli.reports import open_page, page_of
from modelyard.clusters.process.store import ObjectStore

KEY = ObjectKey("CompressionJob", "default", "int8")


def job(state: Path, report: str | None) -> None:
    body: JsonObject = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "CompressionJob",
        "metadata": {"name": "int8", "namespace": "default"},
        "spec": {"source": {"trainingJob": {"name": "digits"}}, "output": {"uri": "pvc://models/int8"}},
        "status": {"state": "Running", "message": "quantizing"},
    }
    if report is not None:
        body["status"] = {"report": {"html": f"{report}/report.html", "json": f"{report}/report.json"}}
    ObjectStore(state / "objects").put(KEY, body)


def test_the_page_lies_on_the_claim_of_the_local_cluster(tmp_path: Path) -> None:
    page = tmp_path / "volumes" / "models" / "int8" / "report-1" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<!doctype html>")
    job(tmp_path, "pvc://models/int8/report-1")

    assert page_of(tmp_path, "int8", "default") == page


@pytest.mark.parametrize(
    ("name", "report", "message"),
    [
        ("int9", None, "CompressionJob 'int9' not found; `modelyard get cjob`"),
        ("int8", None, "CompressionJob 'int8' has no report yet: quantizing"),
        ("int8", "pvc://gone/int8", "'gone' is not mounted here"),
        ("int8", "file:///no/such/folder", "No such file"),
    ],
)
def test_a_report_that_is_not_there_is_one_line(tmp_path: Path, name: str, report: str | None, message: str) -> None:
    job(tmp_path, report)

    with pytest.raises(BadInput, match=message):
        page_of(tmp_path, name, "default")


def test_the_page_is_opened_as_a_file(tmp_path: Path) -> None:
    asked: list[str] = []

    def browser(uri: str) -> bool:
        asked.append(uri)
        return True

    said = open_page(tmp_path / "report.html", browser)

    assert (asked, said) == ([f"{tmp_path.as_uri()}/report.html"], f"opened {tmp_path / 'report.html'}")


def test_without_a_browser_the_place_is_told(tmp_path: Path) -> None:
    assert open_page(tmp_path / "report.html", lambda _: False) == f"no browser was found; open {tmp_path}/report.html"
