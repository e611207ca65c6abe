"""Clients that others wrote. Their messages are registered by the same names as ours, so that they run apart."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.conformance.checks import Place

PYTHON_VARIABLE = "TRITONCLIENT_PYTHON"
SCRIPT = Path(__file__).parent / "clients" / "ask_with_tritonclient.py"


def test_tritonclient_understands_the_server_over_all_its_transports(places: Mapping[str, Place]) -> None:
    python = os.environ.get(PYTHON_VARIABLE)
    if python is None:
        pytest.skip(f"{PYTHON_VARIABLE} names no interpreter with tritonclient[all]")
    place = places["simple"]
    assert place.grpc is not None
    url = urlsplit(place.url)
    ports = [str(url.port), place.grpc.rpartition(":")[2]]
    done = subprocess.run([python, SCRIPT, url.hostname or "", *ports], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
