"""Clients that others wrote. Their messages are registered by the same names as ours, so that they run apart."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.conformance.checks import Place

CLIENTS = Path(__file__).parent / "clients"


@pytest.mark.parametrize(
    ("variable", "packages", "script"),
    [
        ("TRITONCLIENT_PYTHON", "tritonclient[all]", "ask_with_tritonclient.py"),
        ("KSERVE_PYTHON", "kserve", "ask_with_kserve.py"),
    ],
)
def test_a_client_understands_the_server_over_all_its_transports(
    places: Mapping[str, Place], variable: str, packages: str, script: str
) -> None:
    python = os.environ.get(variable)
    if python is None:
        pytest.skip(f"{variable} names no interpreter with {packages}")
    place = places["simple"]
    assert place.grpc is not None
    url = urlsplit(place.url)
    ports = [str(url.port), place.grpc.rpartition(":")[2]]
    done = subprocess.run(
        [python, CLIENTS / script, url.hostname or "", *ports], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
