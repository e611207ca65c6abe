"""TensorFlow Serving v1 over HTTP (tensorflow/serving tensorflow_serving/g3doc/api_rest.md)."""

from collections.abc import Mapping

import httpx
import pytest

INPUT0, INPUT1 = [[1] * 16], [list(range(16))]


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        ("double", {"instances": [[0.5, 1, 2, 4], [1, 1, 1, 1]]}, {"predictions": [[1, 2, 4, 8], [2, 2, 2, 2]]}),
        ("double", {"inputs": [[0.5, 1, 2, 4]]}, {"outputs": [[1, 2, 4, 8]]}),
        (
            "simple",
            {"instances": [{"INPUT0": INPUT0[0], "INPUT1": INPUT0[0]}]},
            {"predictions": [{"OUTPUT0": [2] * 16, "OUTPUT1": [0] * 16}]},
        ),
        (
            "simple",
            {"inputs": {"INPUT0": INPUT0, "INPUT1": INPUT0}},
            {"outputs": {"OUTPUT0": [[2] * 16], "OUTPUT1": [[0] * 16]}},
        ),
    ],
)
def test_predictions(urls: Mapping[str, str], model: str, body: object, expected: object) -> None:
    answer = httpx.post(f"{urls[model]}/v1/models/{model}:predict", json=body)
    assert (answer.status_code, answer.json()) == (200, expected)
