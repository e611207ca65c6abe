"""Start here: each rank builds the user's model with the source's weights, and makes one model for each variant."""

import copy
from pathlib import Path

import torch
from torch import nn

import modelyard_trainer
from modelyard.contract import layout
from modelyard.contract.runs import SOURCE_INPUT, TRAINING_INPUT, TrainRun, TuneRun, VariantRun
from modelyard_trainer import workspace
from modelyard_trainer.console import say
from modelyard_trainer.session import Run
from modelyard_trainer.tuning.finetune import Lesson, finetune, gradients
from modelyard_trainer.tuning.low_rank import factorise
from modelyard_trainer.tuning.models import build, take_weights
from modelyard_trainer.tuning.prune import prune
from modelyard_trainer.tuning.samples import Samples
from modelyard_trainer.tuning.source import Source


def main() -> None:
    """Leave each variant in the pod's workspace. Raises TrainingError with the field of the spec, and the remedy."""
    tune = TrainRun.model_validate_json(layout.run_file().read_bytes()).tune
    assert tune is not None, "the run file of a tuning"
    torch.manual_seed(tune.seed)
    teacher = build(Path.cwd() / tune.script, tune.model)
    with modelyard_trainer.run() as run:
        source = Source(run.input(SOURCE_INPUT))
        take_weights(teacher, source, tune)
        samples = Samples(run.input(TRAINING_INPUT), source.signature, run.device)
        teacher.to(run.device).eval()
        lesson = Lesson(teacher, samples, tune.distil, tune.seed, _total_steps(tune, samples))
        for variant in tune.variants:
            module = copy.deepcopy(teacher)
            _change(module, variant, tune, lesson, run)
            _save(module, variant, source, samples, run)


def _total_steps(tune: TuneRun, samples: Samples) -> int:
    pruned = sum(variant.ratio is not None for variant in tune.variants)
    factorised = sum(variant.energy is not None for variant in tune.variants)
    epochs = (tune.prune.epochs * pruned if tune.prune else 0) + (
        tune.low_rank.epochs * factorised if tune.low_rank else 0
    )
    return epochs * samples.batches


def _change(module: nn.Module, variant: VariantRun, tune: TuneRun, lesson: Lesson, run: Run) -> None:
    example = lesson.samples.example
    if variant.ratio is not None and tune.prune is not None:
        if tune.prune.method == "Taylor":
            gradients(module, lesson, run)
        before, after = prune(module, example, tune.prune, variant.ratio)
        _say(run, f"{variant.name}: pruned from {before} to {after} parameters")
        finetune(module, lesson, tune.prune, run)
    if variant.energy is not None and tune.low_rank is not None:
        before, after = factorise(module, example, variant.energy)
        _say(run, f"{variant.name}: factorised from {before} to {after} parameters")
        finetune(module, lesson, tune.low_rank, run)


def _save(module: nn.Module, variant: VariantRun, source: Source, samples: Samples, run: Run) -> None:
    run.save(
        module,
        example_inputs=samples.example,
        evaluation=source.evaluation,
        calibration=source.calibration,
        metrics={"parameters": sum(parameter.numel() for parameter in module.parameters())},
        input_names=source.inputs,
        output_names=source.outputs,
    )
    if run.is_main:
        workspace.of_pod().keep(variant.name)


def _say(run: Run, text: str) -> None:
    if run.is_main:
        say(f"modelyard: {text}")


if __name__ == "__main__":
    main()
