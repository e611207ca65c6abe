from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modelyard.contract.artifact import TensorSpec
from modelyard.contract.runs import DistilRun, PruneRun
from modelyard_trainer.tuning.distil import features_loss, logits_loss, loss, task_loss
from modelyard_trainer.tuning.layers import inputs_of, output_layers
from modelyard_trainer.tuning.low_rank import LowRankFailedError, factorise, factors_of, split
from modelyard_trainer.tuning.models import ModelNotFoundError, build
from modelyard_trainer.tuning.prune import PruneFailedError, prune
from modelyard_trainer.tuning.samples import Samples, TrainingDataInvalidError

CPU = torch.device("cpu")
X = TensorSpec(name="x", datatype="FP64", shape=[-1])
IMAGE = [torch.arange(32.0).reshape(2, 1, 4, 4) / 32]


class Residual(nn.Module):
    """A shortcut, a normalisation, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.body = nn.Conv2d(16, 16, 1)
        self.head, self.other = nn.Linear(16, 3), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu(self.norm(self.stem(x)))
        x = (x + self.body(x)).mean((2, 3))
        return self.head(x).softmax(1), self.other(x)


class Fixed(nn.Module):
    """A module that knows its width by heart."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.first(x) * torch.ones(16))
        return y


def asked(method: str = "Magnitude", round_to: int = 4) -> PruneRun:
    return PruneRun.model_validate({"epochs": 1, "learningRate": 0.001, "method": method, "roundTo": round_to})


def seeded(module: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return module().eval()


def test_the_layers_that_make_the_outputs_are_found_behind_what_has_no_channels_of_its_own() -> None:
    assert output_layers(seeded(Residual), IMAGE) == ["head", "other"]


def test_an_output_that_is_a_sum_is_made_by_all_its_terms() -> None:
    class Sum(Residual):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            x = self.stem(x)
            y: Tensor = x + self.body(x)
            return y

    assert output_layers(seeded(Sum), IMAGE) == ["body", "stem"]


def test_what_goes_into_a_layer_is_seen() -> None:
    module = seeded(Residual)
    with inputs_of(module, ["head"]) as into:
        module(*IMAGE)
        assert [list(each.shape) for each in into] == [[2, 16]]


@pytest.mark.parametrize("method", ["Magnitude", "Taylor"])
def test_pruning_takes_whole_channels_and_keeps_the_outputs(method: str) -> None:
    module = seeded(Residual)
    sum(output.square().sum() for output in module(*IMAGE)).backward()
    before, after = prune(module, IMAGE, asked(method), 0.5)
    assert isinstance(module, Residual)
    assert (module.stem.out_channels, module.body.in_channels, module.norm.num_features) == (8, 8, 8)
    assert [list(output.shape) for output in module(*IMAGE)] == [[2, 3], [2, 2]]
    assert after == sum(parameter.numel() for parameter in module.parameters()) < before


def test_taylor_keeps_the_channels_that_the_loss_depends_on() -> None:
    first, second = nn.Linear(4, 8, bias=False), nn.Linear(8, 2, bias=False)
    needed = torch.tensor([1, 2, 5, 7])
    kept = first.weight[needed].detach().clone()
    with torch.no_grad():
        second.weight.zero_()
        second.weight[:, needed] = 1.0
    module, x = nn.Sequential(first, second), torch.ones(3, 4)
    module(x).square().sum().backward()
    prune(module, [x], asked("Taylor", round_to=1), 0.5)
    assert torch.equal(first.weight, kept)


def test_what_is_left_of_a_layer_is_a_multiple_of_round_to() -> None:
    module = seeded(Residual)
    prune(module, IMAGE, asked(round_to=8), 0.3)
    assert isinstance(module, Residual)
    assert module.stem.out_channels == 8


def test_a_module_of_fixed_size_is_refused_with_the_alternative() -> None:
    with pytest.raises(PruneFailedError, match=r"does not run without some channels .* take lowRank"):
        prune(seeded(Fixed), [torch.rand(2, 4)], asked(), 0.5)


def test_a_ratio_that_takes_nothing_is_refused() -> None:
    with pytest.raises(PruneFailedError, match=r"a ratio of 0.001 with roundTo 1 takes no channel away"):
        prune(nn.Sequential(nn.Linear(4, 2)), [torch.rand(2, 4)], asked(round_to=1), 0.001)


def test_a_matrix_is_split_at_the_least_rank_that_keeps_its_energy() -> None:
    torch.manual_seed(0)
    values = torch.tensor([3.0, 2.0, 1.0, 0.0])
    left, right = (torch.linalg.qr(torch.rand(4, 4)).Q for _ in range(2))
    weight = left @ values.diag() @ right
    outer, inner = split(weight, 13 / 14 - 1e-4)
    assert outer.shape == (4, 2)
    assert torch.allclose(torch.linalg.matrix_norm(weight - outer @ inner), torch.tensor(1.0), atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Linear(32, 24), torch.rand(5, 32)),
        (nn.Conv2d(32, 24, 1, stride=2, padding=1), torch.rand(2, 32, 6, 6)),
        (nn.Conv2d(32, 24, 1, bias=False), torch.rand(2, 32, 3, 3)),
    ],
)
def test_two_small_layers_answer_as_a_large_one_of_low_rank_did(layer: nn.Linear | nn.Conv2d, x: Tensor) -> None:
    with torch.no_grad():
        layer.weight.copy_((torch.rand(24, 3) @ torch.rand(3, 32)).reshape(layer.weight.shape))
    factors = factors_of(layer, 0.999999)
    assert factors is not None
    assert sum(parameter.numel() for parameter in factors.parameters()) <= 3 * (24 + 32) + 24
    assert torch.allclose(factors(x), layer(x), atol=1e-3)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1, groups=2), nn.Linear(4, 4), nn.Embedding(8, 8)]
)
def test_a_layer_that_is_no_matrix_or_would_not_be_smaller_stays(layer: nn.Module) -> None:
    assert factors_of(layer, 0.99) is None


def test_a_module_with_nothing_to_factorise_is_refused() -> None:
    with pytest.raises(LowRankFailedError, match=r"no layer gets smaller with 0.99 of its energy"):
        factorise(nn.Sequential(nn.Linear(2, 2)), [torch.rand(2, 2)], 0.99)


def test_integer_labels_are_classes_and_floats_are_values() -> None:
    output = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    assert torch.isclose(task_loss(output, torch.tensor([0, 1])), torch.log(1 + torch.exp(torch.tensor(-2.0))))
    assert task_loss(output, torch.tensor([[2.0, 0.0], [0.0, 0.0]])) == 1.0


def test_the_logits_loss_is_the_divergence_at_that_temperature() -> None:
    student, teacher, temperature = torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 0.0]]), 4.0
    p, q = (torch.softmax(each / temperature, 1) for each in (teacher, student))
    assert torch.isclose(logits_loss(student, teacher, temperature), 16 * (p * (p / q).log()).sum())
    assert torch.isclose(logits_loss(teacher, teacher, temperature), torch.tensor(0.0), atol=1e-6)


def test_features_are_compared_across_different_numbers_of_channels() -> None:
    teacher = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert features_loss(torch.tensor([[5.0, 0.0], [0.0, 2.0]]), teacher) == 0
    assert features_loss(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), teacher) > 0.1


def test_alpha_mixes_the_teacher_with_the_labels() -> None:
    student, teacher = [torch.tensor([[1.0, 0.0]])], [torch.tensor([[0.0, 1.0]])]
    labels = torch.tensor([0])

    def mixed(alpha: float) -> Tensor:
        return loss(DistilRun(temperature=2, alpha=alpha), labels, student, teacher)

    assert mixed(0) == task_loss(student[0], labels) == loss(None, labels, student, [])
    assert mixed(1) == logits_loss(student[0], teacher[0], 2)
    assert torch.isclose(mixed(0.25), 0.75 * mixed(0) + 0.25 * mixed(1))


def written(folder: Path, text: str) -> Path:
    path = folder / "made.py"
    path.write_text(f"from torch import nn\nimport modelyard_trainer\n{text}")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Net(nn.Linear): ...", "has no function or class net; it has: Net; name the one that gives"),
        ("def net(width): ...", r"net\(\) in made.py raised TypeError: .* without arguments"),
        ("def net(): return 3", r"net\(\) in made.py gives int; name a function or class without arguments"),
        ("with modelyard_trainer.run() as run: ...", "trains when it is imported; put the training under if __name__"),
    ],
)
def test_code_that_gives_no_model_is_refused_with_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ModelNotFoundError, match=message):
        build(written(tmp_path, text), "net")


def test_a_function_or_a_class_gives_the_model(tmp_path: Path) -> None:
    script = written(
        tmp_path, "class Net(nn.Linear):\n    def __init__(self): super().__init__(2, 3)\ndef net(): return Net()"
    )
    assert [build(script, name).weight.shape for name in ("Net", "net")] == [(3, 2), (3, 2)]


def samples(folder: Path, **arrays: Sequence[float] | np.ndarray) -> Samples:
    np.savez(folder / "train.npz", allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
    return Samples(folder / "train.npz", [X], CPU)


def test_ranks_share_out_each_batch_in_one_order(tmp_path: Path) -> None:
    found = samples(tmp_path, x=np.arange(200.0), labels=np.arange(200))
    whole = [labels.tolist() for _, labels in found.shuffled(7, 0, 1)]
    parts = [[labels.tolist() for _, labels in found.shuffled(7, rank, 2)] for rank in range(2)]
    assert [len(batch) for batch in whole] == [64, 64, 64]
    assert [sorted(one + two) for one, two in zip(*parts, strict=True)] == [sorted(batch) for batch in whole]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": [1.0, 2.0]}, r"no array named labels \(found: x\)"),
        ({"labels": [1, 2]}, "no array named x"),
        (
            {"x": [1, 2], "labels": [1, 2]},
            r"x is int64 \[2\], but the model takes FP64 \[-1\]; convert it as for training",
        ),
        ({"x": [[1.0], [2.0]], "labels": [1, 2]}, r"x is float64 \[2, 1\], but the model takes FP64 \[-1\]"),
        ({"x": [1.0, 2.0, 3.0], "labels": [1, 2]}, r"the same number of samples, two at least, not \[2, 3\]"),
    ],
)
def test_training_data_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, Sequence[float]], message: str
) -> None:
    with pytest.raises(TrainingDataInvalidError, match=message):
        samples(tmp_path, **arrays)


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.npz").write_text("a,b")
    with pytest.raises(TrainingDataInvalidError, match=r"not an .npz file"):
        Samples(tmp_path / "train.npz", [X], CPU)
