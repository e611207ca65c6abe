"""The OpenAPI document, taken at its word by schemathesis, which runs apart: its dependencies are many."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "10")
"""Requests of each kind for each path."""
UNSAID = "positive_data_acceptance"
"""The check that is left out: JSON Schema cannot say that data has as many elements as shape says."""


@pytest.mark.parametrize("model", ["simple", "types"])
def test_answers_are_what_the_openapi_document_says(urls: Mapping[str, str], model: str, tmp_path: Path) -> None:
    command = os.environ.get("SCHEMATHESIS")
    if command is None:
        pytest.skip("SCHEMATHESIS names no command of that name")
    options = ["--max-examples", EXAMPLES, "--seed", "0", "--checks", "all", "--exclude-checks", UNSAID]
    done = subprocess.run(
        [command, "run", f"{urls[model]}/openapi.json", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 12" in done.stdout, done.stdout
