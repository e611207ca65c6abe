"""How does a changed model learn again what it knew? On the training samples, with the source as its teacher."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from modelyard.contract.runs import DistilRun, FinetuneRun
from modelyard_trainer.errors import TrainingError
from modelyard_trainer.parity import leaves
from modelyard_trainer.session import Run
from modelyard_trainer.tuning.distil import loss, task_loss
from modelyard_trainer.tuning.layers import inputs_of, output_layers
from modelyard_trainer.tuning.samples import Samples

_GRADIENT_BATCHES = 8
_LARGEST_GRADIENT = 5.0


class DivergedError(TrainingError):
    """The loss is not a number any more."""

    reason = "Diverged"


@dataclass
class Lesson:
    """What every fine-tune of a run has in common."""

    teacher: nn.Module
    """The source, in eval mode."""
    samples: Samples
    distil: DistilRun | None
    seed: int
    total_steps: int
    """Of all fine-tunes together."""
    step: int = 0
    """Those made."""


def gradients(module: nn.Module, lesson: Lesson, run: Run) -> None:
    """Give each parameter the gradient of the labels' loss on some batches, the same on every rank."""
    module.zero_grad()
    for number, (inputs, labels) in enumerate(lesson.samples.shuffled(lesson.seed, 0, 1)):
        if number == _GRADIENT_BATCHES:
            break
        task_loss(leaves(module(*inputs))[0], labels).backward()
    if run.world_size > 1:
        # Ranks that round differently must not choose different channels.
        for parameter in module.parameters():
            if parameter.grad is not None:
                distributed.broadcast(parameter.grad, 0)


def finetune(module: nn.Module, lesson: Lesson, asked: FinetuneRun, run: Run) -> None:
    """Train ``module`` in place, on all ranks together, and leave it in eval mode. Raises DivergedError."""
    samples, distil = lesson.samples, lesson.distil
    names = output_layers(lesson.teacher, samples.example) if distil is not None and distil.features > 0 else []
    parallel = DistributedDataParallel(module) if run.world_size > 1 else module
    optimizer = torch.optim.AdamW(module.parameters(), asked.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, asked.learning_rate, total_steps=asked.epochs * samples.batches
    )
    module.train()
    with ExitStack() as hooks:
        ours, theirs = (hooks.enter_context(inputs_of(each, names)) for each in (module, lesson.teacher))
        for epoch in range(asked.epochs):
            for inputs, labels in samples.shuffled(lesson.seed + 1 + epoch, run.rank, run.world_size):
                taught = _answers(lesson.teacher, inputs) if distil is not None else []
                found = loss(distil, labels, leaves(parallel(*inputs)), taught, ours, theirs)
                optimizer.zero_grad()
                found.backward()
                nn.utils.clip_grad_norm_(module.parameters(), _LARGEST_GRADIENT)
                optimizer.step()
                schedule.step()
                lesson.step += 1
                run.report(step=lesson.step, total_steps=lesson.total_steps, loss=found)
            if not math.isfinite(last := float(found.detach())):
                raise DivergedError(
                    f"the loss of the fine-tune is {last} after {epoch + 1} epochs; lower learningRate "
                    f"(now {asked.learning_rate:g}) in the recipe's step"
                )
    module.eval()


@torch.no_grad()
def _answers(teacher: nn.Module, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return leaves(teacher(*inputs))
