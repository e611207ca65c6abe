"""Trains the networks, once: ``build/compression/<name>`` holds the model and its data as in an artefact."""

import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.nn import functional

import nets
import samples
from modelyard_compressor.channels import groups
from modelyard_compressor.optimise import optimise
from modelyard_compressor.shapes import infer_shapes
from modelyard_compressor.wiring import Wiring
from samples import Array, Samples

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "compression"
_BATCH = 64
_SPREAD = 60.0
"""Uneven channels differ by up to the square of this."""


@dataclass(frozen=True)
class Net:
    """One network, and how it learns."""

    name: str
    make: Callable[[], nn.Module]
    data: Callable[[], Samples]
    metric: Literal["Top1", "Cosine"]
    epochs: int
    rate: float = 2e-3


NETS = {
    net.name: net
    for net in (
        Net("residual", nets.residual, samples.images, "Top1", 3),
        Net("uneven", nets.residual, samples.images, "Top1", 0),
        Net("depthwise", nets.depthwise, samples.images, "Top1", 4),
        Net("lstm", nets.Rows, samples.images, "Top1", 14),
        Net("transformer", nets.transformer, samples.sentences, "Top1", 5, 1e-3),
        Net("encoder", nets.SentenceEncoder, samples.sentences, "Cosine", 2, 5e-4),
    )
}


def trained(name: str) -> Path:
    """A folder with ``model.onnx``, ``calibration.npz`` and ``eval.npz``; trained where it was not, or not so.

    What was trained, and not made of another one, has ``weights.safetensors`` and ``training.npz`` as well.
    """
    folder = FOLDER / name
    digest = sha256(b"".join((Path(__file__).parent / f"{each}.py").read_bytes() for each in _SOURCES)).hexdigest()
    stamp = folder / "stamp.json"
    if stamp.is_file() and json.loads(stamp.read_text()) == digest:
        return folder
    unfinished = FOLDER / f".{name}.{os.getpid()}"
    unfinished.mkdir(parents=True, exist_ok=True)
    if name == "uneven":
        _make_uneven(trained("residual"), unfinished)
    else:
        _train(NETS[name], unfinished)
    (unfinished / "stamp.json").write_text(json.dumps(digest))
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return folder


_SOURCES = ("nets", "samples", "training")


def _train(net: Net, folder: Path) -> None:
    torch.manual_seed(0)
    data, module = net.data(), net.make()
    head = nn.Linear(256, samples.TOPICS) if net.metric == "Cosine" else None
    x, y = (torch.from_numpy(each) for each in data.training)
    parameters = [*module.parameters(), *(head.parameters() if head is not None else [])]
    optimizer = torch.optim.AdamW(parameters, net.rate)
    steps = net.epochs * (len(x) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, net.rate, steps)
    for _ in range(net.epochs):
        for rows in torch.randperm(len(x))[: len(x) // _BATCH * _BATCH].split(_BATCH):
            answers = module(x[rows])
            loss = functional.cross_entropy(head(8 * answers) if head is not None else answers, y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    module.eval()
    if isinstance(module, nets.SentenceEncoder):
        _make_outliers(module)
    _export(module, x[:2], folder / "model.onnx")
    evaluated, labels = data.evaluation
    if net.metric == "Cosine":
        labels = _answers(folder / "model.onnx", evaluated)
    save_model(module, str(folder / "weights.safetensors"))
    np.savez(folder / "training.npz", allow_pickle=False, x=data.training[0], labels=data.training[1])
    np.savez(folder / "calibration.npz", allow_pickle=False, x=data.calibration[0])
    np.savez(folder / "eval.npz", allow_pickle=False, x=evaluated, labels=labels)


def _export(module: nn.Module, example: Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        # The exporter warns of its own ways with an LSTM's weights, and where a warning is an error it gives up.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            path,
            input_names=["x"],
            output_names=["y"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )


def _make_outliers(module: nets.SentenceEncoder) -> None:
    """Scale some channels of each norm up, and their weights behind it down: the function stays the same."""
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for layer in module.encoder.layers:
            assert isinstance(layer, nets.Attention)
            first = layer.forward_part[0]
            assert isinstance(first, nn.Linear)
            for norm, takers in ((layer.first, (layer.query, layer.key, layer.value)), (layer.second, (first,))):
                channels = torch.randperm(256, generator=random)[:4]
                norm.weight[channels] *= 30
                norm.bias[channels] *= 30
                for taker in takers:
                    taker.weight[:, channels] /= 30


def _make_uneven(source: Path, target: Path) -> None:
    """Scale the channels of all layers by factors between 1/60 and 60: the function stays the same."""
    for data in ("calibration.npz", "eval.npz"):
        shutil.copyfile(source / data, target / data)
    path = target / "model.onnx"
    optimise(source / "model.onnx", path)
    model = onnx.load(path)
    wiring, random = Wiring(model), np.random.default_rng(11)
    for group in groups(model, infer_shapes(model, {"x": (1, 1, samples.SIDE, samples.SIDE)})):
        factors = (np.float32(_SPREAD) ** random.uniform(-1, 1, group.channels)).astype(np.float32)
        for slots, scales in ((group.makers, factors), (group.takers, 1 / factors)):
            for slot in slots:
                values = wiring.weight(slot.weight)
                assert values is not None
                wiring.set_weight(slot.weight, slot.scaled(values, scales.astype(np.float32)))
    onnx.save(model, path)


def _answers(path: Path, x: Array) -> Array:
    answers: Array = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    return answers


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in sys.argv[1:] or NETS:
        folder = trained(each)
        with np.load(folder / "eval.npz") as file:
            answers, labels = _answers(folder / "model.onnx", file["x"]), file["labels"]
        if NETS[each].metric == "Top1":
            print(each, f"{(answers.argmax(axis=1) == labels).mean():.4f}", flush=True)  # noqa: T201
