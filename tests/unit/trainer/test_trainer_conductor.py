"""How a launcher has its ranks stop together."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from modelyard_trainer import lifetime
from modelyard_trainer.conductor import Conductor
from modelyard_trainer.gang import Gang
from modelyard_trainer.pulse import Pulse
from modelyard_trainer.workspace import Workspace


def launcher(folder: Path, store: HashStore, ranks: list[int], grace: float = 30, *, leaves: bool = False) -> Conductor:
    conductor = Conductor(Gang.of(store, "uid-1"), Workspace(folder), folder, grace, stall_seconds=None, leaves=leaves)
    conductor.before_start(ranks)
    return conductor


def test_one_pod_is_asked_and_the_ranks_of_all_stop_at_the_same_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = HashStore()
    main, other = launcher(tmp_path / "0", store, [0]), launcher(tmp_path / "1", store, [1])
    pages = [Pulse(tmp_path / str(node) / "pulse" / "0") for node in range(2)]
    for page in pages:
        page.beat()
    monkeypatch.setattr(lifetime, "asked", lambda: True)
    other.look({0: os.getpid()}, decides=False)
    monkeypatch.setattr(lifetime, "asked", lambda: False)
    main.look({0: os.getpid()}, decides=True)
    other.look({0: os.getpid()}, decides=False)
    stopped_at = []
    for page in pages:
        while not page.stopping:
            page.beat()
        stopped_at.append(page.beats)
    assert stopped_at == [3, 3]


def test_a_script_that_reports_nothing_gets_the_signal_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "asked", lambda: True)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as rank:
        launcher(tmp_path, HashStore(), [0]).look({0: rank.pid}, decides=True)
        assert rank.wait(30) == -signal.SIGTERM


def test_what_has_not_stopped_when_the_grace_is_over_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "asked", lambda: True)
    conductor = launcher(tmp_path, HashStore(), [0], grace=0)
    Pulse(tmp_path / "pulse" / "0").beat()
    with pytest.raises(lifetime.TerminatedError):
        conductor.look({0: os.getpid()}, decides=True)


def test_a_pod_of_an_elastic_gang_leaves_alone_unless_the_host_is_asked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("modelyard_trainer.conductor.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(lifetime, "asked", lambda: True)
    alone = launcher(tmp_path / "1", HashStore(), [1], leaves=True)
    alone.look({}, decides=False)
    clock[0] += 2
    with pytest.raises(lifetime.LeftError):
        alone.look({}, decides=False)

    store = HashStore()
    host, other = launcher(tmp_path / "2", store, [0]), launcher(tmp_path / "3", store, [1], leaves=True)
    other.look({}, decides=False)
    host.look({}, decides=True)
    clock[0] += 2
    other.look({}, decides=False)
    assert other.stopping
