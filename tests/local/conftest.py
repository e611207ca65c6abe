"""State folders that clean up after themselves."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from laptop_stage import LaptopStage
from laptops import DEADLINE, Laptop
from pods import Attempts


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    """A fresh state folder; what the test leaves running is stopped."""
    yield from _laptop(tmp_path)


@pytest.fixture(scope="module")
def module_laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A state folder for all tests of a module."""
    yield from _laptop(tmp_path_factory.mktemp("laptop"))


def _laptop(folder: Path) -> Iterator[Laptop]:
    laptop = Laptop(folder)
    yield laptop
    for process in laptop.started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=DEADLINE)
    laptop("stop")
    laptop.until(lambda: not laptop.processes())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LaptopStage]:
    """A process cluster within this process."""
    stage = LaptopStage(tmp_path)
    try:
        yield stage
    finally:
        stage.close()


@pytest.fixture
def attempts(tmp_path: Path) -> Iterator[Attempts]:
    """A folder for attempts, whose pods are killed at the end."""
    # The sockets of a fork server have paths of at most 107 bytes, and names of tests are long.
    with tempfile.TemporaryDirectory(prefix="my-") as short:
        attempts = Attempts(tmp_path, environment={"TMPDIR": short})
        yield attempts
        attempts.end()
