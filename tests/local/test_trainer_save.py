"""What ``run.save`` writes, and what it refuses."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from modelyard.contract.artifact import TensorSpec
from modelyard_trainer import parity
from modelyard_trainer.errors import ExportError, ExportMismatchError
from modelyard_trainer.save import save
from modelyard_trainer.saved import Saved
from modelyard_trainer.workspace import Workspace

IMAGES = torch.rand(6, 1, 4, 4)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


class Small(nn.Module):
    """[n, 1, 4, 4] -> [n, 3], with a part that behaves differently in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Dropout(0.9), nn.Flatten(), nn.Linear(8, 3))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layers(image)
        return output


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x * 2
        return x


class Eigenvalues(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = torch.linalg.eigvals(x[:, 0])
        return values.real


class FirstRow(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.inner(x)
        return output[:1]


class FixedBatch(FirstRow):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).reshape(2, 3)


@pytest.fixture(scope="module")
def small() -> Small:
    return Small()


@pytest.fixture(scope="module")
def exported(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return saved(
        tmp_path_factory.mktemp("exported"),
        small,
        evaluation=(IMAGES, LABELS),
        calibration=IMAGES[:3],
        metrics={"accuracy": 0.5},
        output_names=["logits"],
    )


def saved(
    folder: Path,
    model: nn.Module,
    *,
    evaluation: tuple[torch.Tensor, ...] | None = None,
    calibration: torch.Tensor | None = None,
    metrics: Mapping[str, float] | None = None,
    input_names: list[str] | None = None,
    output_names: list[str] | None = None,
) -> Workspace:
    workspace = Workspace(folder)
    save(workspace, model, IMAGES[:1], evaluation, calibration, metrics or {}, input_names, output_names)
    return workspace


def test_the_artefact_holds_model_weights_and_both_sets(exported: Workspace, small: Small) -> None:
    names = sorted(path.name for path in exported.artifact.iterdir())
    assert names == ["calibration.npz", "eval.npz", "model.onnx", "weights.safetensors"]
    assert Saved.model_validate_json(exported.saved.read_bytes()) == Saved(
        inputs=[TensorSpec(name="image", datatype="FP32", shape=[-1, 1, 4, 4])],
        outputs=[TensorSpec(name="logits", datatype="FP32", shape=[-1, 3])],
        metrics={"accuracy": 0.5},
    )
    with np.load(exported.artifact / "eval.npz") as arrays:
        assert {name: array.shape for name, array in arrays.items()} == {"image": (6, 1, 4, 4), "labels": (6,)}
    weights = load_file(exported.artifact / "weights.safetensors")
    assert weights.keys() == small.state_dict().keys()
    assert small.training


def test_the_model_tells_nothing_of_this_machine(exported: Workspace) -> None:
    proto = onnx.load(exported.artifact / "model.onnx")
    assert __file__.encode() not in proto.SerializeToString()
    assert all(not node.metadata_props for node in proto.graph.node)


def test_a_model_that_answers_otherwise_is_refused(exported: Workspace) -> None:
    session = parity.open_session(exported.artifact / "model.onnx")
    with pytest.raises(ExportMismatchError, match=r"logits differs by [0-9.e-]+ from the module at a batch of 1"):
        parity.largest_difference(session, Small().eval(), [IMAGES])


def test_a_branch_on_values_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"test_trainer_save\.py:\d+ in forward: if x\.sum\(\) > 0:; .*torch\.where"):
        saved(tmp_path, Branching())


def test_an_operator_without_onnx_form_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"aten\.linalg_eig has no ONNX form"):
        saved(tmp_path, Eigenvalues())


@pytest.mark.parametrize("wrapper", [FirstRow, FixedBatch])
def test_an_output_without_a_row_for_each_input_is_refused(
    exported: Workspace, small: Small, wrapper: type[FirstRow]
) -> None:
    session = parity.open_session(exported.artifact / "model.onnx")
    with pytest.raises(ExportError, match="every output needs one row for each row of the inputs"):
        parity.largest_difference(session, wrapper(small).eval(), [IMAGES])


def test_nothing_counts_as_saved_after_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "saved.json").write_text("of an earlier call")
    with pytest.raises(ValueError, match="metrics: loss is nan"):
        saved(tmp_path, Small(), metrics={"loss": float("nan")})
    assert not Workspace(tmp_path).saved.exists()


def test_equal_evaluation_and_calibration_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="take the calibration set from training data"):
        saved(tmp_path, Small(), evaluation=(IMAGES, LABELS), calibration=IMAGES.clone())


def test_sets_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="evaluation: every array needs the same number of samples"):
        saved(tmp_path, Small(), evaluation=(IMAGES, LABELS[:5]))
    with pytest.raises(ValueError, match=r"evaluation: give \(image, labels\), which are 2 arrays, not 1"):
        saved(tmp_path, Small(), evaluation=(IMAGES,))
    with pytest.raises(ValueError, match=r"calibration: image is float64 \(6, 1, 4, 4\), but the model takes float32"):
        saved(tmp_path, Small(), calibration=IMAGES.double())


def test_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="input_names: example_inputs has 1 tensors"):
        saved(tmp_path, Small(), input_names=["a", "b"])
    with pytest.raises(ValueError, match="output_names: forward returns 1 tensors"):
        saved(tmp_path, Small(), output_names=["a", "b"])
