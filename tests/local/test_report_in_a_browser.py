"""The report in a real browser: it shows something, runs without an error, and asks nobody for anything."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from modelyard.contract import layout
from modelyard.contract.reports import EXIT_FINAL
from modelyard.contract.runs import GatesRun, MetricRun
from test_compression_killed import compressor, net
from whole_runs import AUTO, Files, source_artifact, write_run

PACKAGE = "chromium"
WIDTH, HEIGHT = 1200, 2600
BROKEN = """
<!doctype html><title>broken</title>
<script>noSuchFunction()</script>
<img src="http://report.invalid/picture.png">
"""


@dataclass(frozen=True)
class Seen:
    """What became of a page."""

    console: list[str]
    requested: set[str]
    """Addresses of this page's own, but for files of this machine."""
    screenshot: Path


@pytest.fixture(scope="module")
def browser() -> str:
    """A headless Chromium, installed where that is allowed."""
    if shutil.which(PACKAGE) is None and os.geteuid() == 0 and shutil.which("apt-get") is not None:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", PACKAGE]):
            subprocess.run(["apt-get", *command], env=environment, capture_output=True, check=False)
    found = shutil.which(PACKAGE)
    if found is None:
        assert os.environ.get("CI") != "true", f"there is no {PACKAGE}, and it could not be installed"
        pytest.skip(f"there is no {PACKAGE}")
    return found


def opened(browser: str, page: Path, folder: Path) -> Seen:
    """Look at the page as a person would."""
    screenshot, log = folder / "screenshot.png", folder / "network.json"
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
        "--disable-dev-shm-usage", f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{HEIGHT}",
        "--enable-logging=stderr", f"--log-net-log={log}", f"--screenshot={screenshot}", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return Seen(re.findall(r"CONSOLE.*", done.stderr), requests_of_the_page(log), screenshot)


def requests_of_the_page(log: Path) -> set[str]:
    """Chromium itself asks its maker for updates and accounts; only what a frame asks for has an initiator."""
    events = json.loads(log.read_text())["events"]
    parameters = [event["params"] for event in events if isinstance(event.get("params"), dict)]
    return {
        each["url"]
        for each in parameters
        if "url" in each and "initiator" in each and each["initiator"] != "not an origin"
    }


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Of a job with trials that passed, failed, and could not be built, and with every picture."""
    (tmp_path / layout.CONFIG).mkdir()
    images = np.random.default_rng(0).random((120, 1, 8, 8), np.float32)
    labels = images[60:, 0, 0, :1] * np.ones(10, np.float32)
    files: Files = {"calibration": {"image": images[:60]}, "eval": {"image": images[60:], "labels": labels}}
    write_run(
        tmp_path,
        source_artifact(tmp_path, net(), files),
        metric=MetricRun(name="Rmse"),
        quantize=AUTO.model_copy(update={"mode": ["Static", "Dynamic", "Float16"], "range_repair": [True, False]}),
        gates=GatesRun(max_accuracy_drop=0.001, min_speedup=100),
    )
    with compressor(tmp_path) as process:
        out, err = process.communicate(timeout=240)
    assert process.returncode == EXIT_FINAL, out + err
    return tmp_path / "out" / "report" / "report.html"


def test_the_report_shows_and_asks_nobody(browser: str, report: Path, tmp_path: Path) -> None:
    seen = opened(browser, report, tmp_path)

    assert (seen.console, seen.requested) == ([], set())
    pixels = image.imread(seen.screenshot)[:, :, :3]
    assert pixels.shape[:2] == (HEIGHT, WIDTH)
    colours, counts = np.unique(np.rint(pixels * 255).reshape(-1, 3), axis=0, return_counts=True)
    assert len(colours) > 100
    assert counts.max() < 0.9 * counts.sum()
    # Something is drawn in every part of the page, down to its lower end.
    assert all(part.std() > 0.02 for part in np.array_split(pixels, 6))


def test_a_page_with_an_error_and_a_request_is_seen_through(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    page.write_text(BROKEN)

    seen = opened(browser, page, tmp_path)

    assert any("noSuchFunction" in line for line in seen.console)
    assert seen.requested == {"http://report.invalid/picture.png"}
