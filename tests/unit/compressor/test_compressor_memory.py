"""What a job takes is known before anything is built, and a pod that may not take so much says so."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from modelyard.contract.reports import EXIT_FINAL
from modelyard_compressor import memory
from modelyard_compressor.memory import estimate, parse_limit
from modelyard_compressor.shapes import outline
from whole_runs import Files, compress, source_artifact


@pytest.fixture
def files(images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Files:
    return {"calibration": {"image": images[:60]}, "eval": {"image": images[800:900], "labels": labels[800:900]}}


@pytest.mark.parametrize(
    ("text", "limit"),
    [("536870912\n", 536870912), ("max\n", None), ("9223372036854771712\n", None)],
    ids=["limited", "v2 without", "v1 without"],
)
def test_the_limit_is_what_the_kernel_says(text: str, limit: int | None) -> None:
    assert parse_limit(text) == limit


def test_more_of_anything_takes_more(conv_net: onnx.ModelProto) -> None:
    least = (outline(conv_net), 1000, {"image": (1, 1, 8, 8)}, 0, 1, 1)

    def more(place: int, value: object) -> int:
        return estimate(*[value if index == place else each for index, each in enumerate(least)])  # type: ignore[arg-type]

    grown = [more(1, 2000), more(2, {"image": (2, 1, 8, 8)}), more(3, 1000), more(4, 2), more(5, 8)]
    assert min(grown) > estimate(*least)


@pytest.mark.parametrize("limit", [1 << 20, (170 << 20) + 1_800_000], ids=["before it is read", "before it is built"])
def test_a_pod_that_may_not_take_enough_fails_before_the_work(
    root: Path, conv_net: onnx.ModelProto, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    monkeypatch.setattr(memory, "_LIMITS", (tmp_path / "memory.max",))

    exit_code, termination = compress(root, source_artifact(root, conv_net, files))

    assert (exit_code, termination.reason) == (EXIT_FINAL, "MemoryTooSmall")
    assert termination.memory is not None
    assert termination.memory.limit_bytes == limit < termination.memory.estimate_bytes
    assert termination.message.startswith(
        f"spec.target.resources.limits.memory: the pod may take {limit >> 20} Mi, and this job needs about"
    )
    assert not (root / "out").exists()
