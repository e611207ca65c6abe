"""Who runs a state folder's cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.clusters.process.lock import Busy, owned

BACKGROUND = """
import pathlib, signal, sys, threading
from modelyard.clusters.process.lock import owned
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set())
with owned(pathlib.Path(sys.argv[1]), background=True):
    print("owns", flush=True)
    told.wait(60)
"""


def test_a_foreground_owner_is_not_disturbed(tmp_path: Path) -> None:
    with owned(tmp_path), pytest.raises(Busy, match=f"process {os.getpid()} already runs"), owned(tmp_path):
        pass


def test_a_background_owner_hands_over(tmp_path: Path) -> None:
    background = subprocess.Popen([sys.executable, "-c", BACKGROUND, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with background:
        assert background.stdout is not None
        assert background.stdout.readline() == "owns\n"
        with owned(tmp_path):
            assert json.loads((tmp_path / "lock").read_text()) == {"pid": os.getpid(), "background": False}
    assert background.returncode == 0


def test_an_owner_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    with owned(tmp_path):
        pass
    with owned(tmp_path):
        pass
