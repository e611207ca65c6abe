"""How far is the student from the labels, and from its teacher? The loss of every fine-tune."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from modelyard.contract.runs import DistilRun


def task_loss(output: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy for labels that are integers, mean square error for floats."""
    if labels.is_floating_point():
        return functional.mse_loss(output, labels.reshape(output.shape))
    return functional.cross_entropy(output, labels.long())


def logits_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(teacher / T || student / T) over dimension 1, the mean over samples (Hinton et al., arXiv:1503.02531).

    The factor keeps the gradients as large as those of the labels, whatever the temperature.
    """
    soft = functional.log_softmax(student / temperature, dim=1)
    target = functional.log_softmax(teacher / temperature, dim=1)
    return temperature**2 * functional.kl_div(soft, target, reduction="batchmean", log_target=True)


def features_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean square difference of the samples' similarities to each other (Tung and Mori, arXiv:1907.09682).

    It compares [b, b] matrices, so that a student with fewer channels needs no projection.
    """
    return functional.mse_loss(_similarities(student), _similarities(teacher))


def loss(
    settings: DistilRun | None,
    labels: Tensor,
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    student_features: Sequence[Tensor] = (),
    teacher_features: Sequence[Tensor] = (),
) -> Tensor:
    """The labels' loss on the first output, mixed with the teacher's on all where ``settings`` are given.

    Outputs of a regression, with labels that are floats, are compared by their mean square difference.
    """
    task = task_loss(student[0], labels)
    if settings is None:
        return task
    regression = labels.is_floating_point()
    pairs = zip(student, teacher, strict=True)
    taught = torch.stack(
        [
            functional.mse_loss(ours, theirs) if regression else logits_loss(ours, theirs, settings.temperature)
            for ours, theirs in pairs
        ]
    ).sum()
    features = sum(
        (features_loss(ours, theirs) for ours, theirs in zip(student_features, teacher_features, strict=True)),
        start=task.new_zeros(()),
    )
    return (1 - settings.alpha) * task + settings.alpha * taught + settings.features * features


def _similarities(features: Tensor) -> Tensor:
    flat = features.flatten(1)
    return functional.normalize(flat @ flat.T, dim=1)
