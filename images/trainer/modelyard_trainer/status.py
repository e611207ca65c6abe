"""Progress in the words of Kubeflow Trainer's status protocol, there and back (kubeflow/trainer, KEP-2779). Pure."""

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from modelyard.contract.decimals import decimal
from modelyard.contract.reports import ProgressReport
from modelyard.contract.runs import Objective
from modelyard_trainer.pace import better

_STEP = "current_step"
_TOTAL = "total_steps"
_LONGEST_NAME = 64
_MOST_METRICS = 32


class _Foreign(BaseModel):
    """What others write: fields that we do not know are none of our business."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, validate_by_name=True)


class Metric(_Foreign):
    """A metric by name."""

    name: Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME)]
    value: str


class TrainerStatus(_Foreign):
    """What Kubeflow's clients tell, Hugging Face's callback among them."""

    progress_percentage: Annotated[int | None, Field(ge=0, le=100)] = None
    estimated_remaining_seconds: Annotated[int | None, Field(ge=0)] = None
    metrics: Annotated[list[Metric], Field(max_length=_MOST_METRICS)] = []


class Update(_Foreign):
    """The body of a request."""

    trainer_status: TrainerStatus


def taken(update: Update, before: ProgressReport, objective: Objective | None, now: str) -> ProgressReport:
    """``before`` with what ``update`` tells, the step and the total from the metrics that Hugging Face puts them into.

    A client that tells only a percentage counts steps of a hundred. What is no finite number is left out.
    """
    told = update.trainer_status
    numbers = {metric.name: value for metric in told.metrics if (value := _number(metric.value)) is not None}
    step, total = numbers.pop(_STEP, None), numbers.pop(_TOTAL, None)
    if total is None and before.total_steps is None and told.progress_percentage is not None:
        step, total = float(told.progress_percentage), 100.0
    best = None if before.best is None else float(before.best)
    if objective is not None and objective.metric in numbers:
        best = better(objective, best, numbers[objective.metric])
    return before.model_copy(
        update={
            "stage": "Training",
            "step": before.step if step is None else int(step),
            "total_steps": before.total_steps if total is None else int(total),
            "eta_seconds": told.estimated_remaining_seconds,
            "metrics": before.metrics | {name: decimal(value) for name, value in numbers.items()},
            "best": None if best is None else decimal(best),
            "resumed_step": before.resumed_step or 0,
            "time": now,
        }
    )


def body(report: ProgressReport) -> dict[str, JsonValue]:
    """What is sent to the operator: the protocol's part, and beside it all that we know."""
    status: dict[str, JsonValue] = {
        "lastUpdatedTime": report.time,
        "metrics": [{"name": name, "value": value} for name, value in report.metrics.items()],
    }
    if report.total_steps:
        status["progressPercentage"] = min(100, report.step * 100 // report.total_steps)
    if report.eta_seconds is not None:
        status["estimatedRemainingSeconds"] = report.eta_seconds
    return {"trainerStatus": status, "modelyard": report.model_dump(mode="json", exclude_none=True)}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
