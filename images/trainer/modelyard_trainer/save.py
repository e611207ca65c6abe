"""From a trained module to the files of an artefact, each checked before any is published."""

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from safetensors.torch import save_model

from modelyard.contract.artifact import MODEL_FILE, WEIGHTS_FILE
from modelyard_trainer import datasets, parity
from modelyard_trainer.console import say
from modelyard_trainer.datasets import Samples
from modelyard_trainer.export import export, names_of
from modelyard_trainer.saved import Saved
from modelyard_trainer.workspace import Workspace


def save(
    workspace: Workspace,
    model: torch.nn.Module,
    example_inputs: torch.Tensor | Sequence[torch.Tensor],
    evaluation: Sequence[Samples] | None,
    calibration: Samples | Sequence[Samples] | None,
    metrics: Mapping[str, float],
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
) -> None:
    """Fill ``workspace.artifact`` as ``Run.save`` promises, and ``workspace.saved`` last. Raises what that raises."""
    workspace.saved.unlink(missing_ok=True)
    shutil.rmtree(workspace.artifact, ignore_errors=True)
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise ValueError(f"metrics: {name} is {value}; gates need finite numbers, so leave it out or mend it")
    module = _unwrapped(model)
    example = _pair([example_inputs] if isinstance(example_inputs, torch.Tensor) else list(example_inputs))
    inputs = dict(zip(names_of(module, input_names, len(example)), example, strict=True))
    held_out = datasets.evaluation_arrays(evaluation, inputs) if evaluation is not None else None
    tuning = datasets.calibration_arrays(calibration, inputs) if calibration is not None else None
    if held_out is not None and tuning is not None:
        datasets.check_apart(held_out, tuning)
    workspace.artifact.mkdir(parents=True)
    path = workspace.artifact / MODEL_FILE
    with _ready_to_export(module):
        with torch.inference_mode():
            count = len(parity.leaves(module(*example)))
        export(module, example, list(inputs), _output_names(output_names, count), path)
        session = parity.open_session(path)
        input_specs, output_specs = parity.signature(session)
        difference = parity.largest_difference(session, module, example)
        save_model(module, str(workspace.artifact / WEIGHTS_FILE))
    datasets.write(workspace.artifact, held_out, tuning)
    saved = Saved(inputs=input_specs, outputs=output_specs, metrics=dict(metrics))
    workspace.saved.write_text(saved.to_json())
    sizes = ", ".join(str(size) for size in parity.BATCH_SIZES)
    say(f"modelyard: exported; differs from the module by at most {difference:.1e} at batches of {sizes}")


def _unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    inner = model.module if isinstance(model, torch.nn.parallel.DistributedDataParallel) else model
    assert isinstance(inner, torch.nn.Module)
    return inner


def _pair(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Two rows of each input on the CPU: the exporter would take a batch of one for a constant."""
    sizes = {tensor.shape[0] if tensor.ndim else 0 for tensor in tensors}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError("example_inputs: every tensor needs the batch as its first dimension, the same for all")
    return [tensor.detach().cpu()[torch.tensor([0, -1])] for tensor in tensors]


def _output_names(given: Sequence[str] | None, count: int) -> list[str]:
    if given is None:
        return ["output"] if count == 1 else [f"output_{index}" for index in range(count)]
    if len(given) != count or len(set(given)) != count:
        raise ValueError(f"output_names: forward returns {count} tensors, so give {count} different names")
    return list(given)


@contextmanager
def _ready_to_export(module: torch.nn.Module) -> Iterator[None]:
    """In eval mode on the CPU; afterwards as it was."""
    training = [part for part in module.modules() if part.training]
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    module.eval().to("cpu")
    try:
        yield
    finally:
        module.to(device)
        for part in training:
            part.training = True
