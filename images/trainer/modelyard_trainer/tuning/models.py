"""Which module does the user's code build, and does it take the source's weights?"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from safetensors.torch import load_model
from torch import nn

from modelyard.contract.runs import TuneRun
from modelyard_trainer import session
from modelyard_trainer.errors import TrainingError
from modelyard_trainer.tuning.source import Source

_GUARD = 'put the training under if __name__ == "__main__":'


class ModelNotFoundError(TrainingError):
    """``spec.entrypoint`` gives no module."""

    reason = "ModelNotFound"


class WeightsMismatchError(TrainingError):
    """The module is not the one that the source's weights belong to."""

    reason = "WeightsMismatch"


def build(script: Path, name: str) -> nn.Module:
    """What ``name``, a function or class of ``script``, gives without arguments. Raises ModelNotFoundError."""
    code = _imported(script)
    make = getattr(code, name, None)
    if not callable(make):
        found = sorted(each for each, value in vars(code).items() if _gives_module(value, code))
        raise ModelNotFoundError(
            f"spec.entrypoint.model: {script.name} has no function or class {name}; "
            f"it has: {', '.join(found) or 'none'}; name the one that gives the nn.Module"
        )
    try:
        module = make()
    except Exception as error:
        raise ModelNotFoundError(
            f"spec.entrypoint.model: {name}() in {script.name} raised {type(error).__name__}: {error}; "
            "name a function or class without arguments that gives the nn.Module"
        ) from error
    if not isinstance(module, nn.Module):
        raise ModelNotFoundError(
            f"spec.entrypoint.model: {name}() in {script.name} gives {type(module).__name__}; "
            "name a function or class without arguments that gives the nn.Module"
        )
    return module


def take_weights(module: nn.Module, source: Source, tune: TuneRun) -> None:
    """Load the weights of the source into ``module``. Raises WeightsMismatchError."""
    if source.weights is None:
        raise WeightsMismatchError(
            f"spec.source: {tune.source.uri} holds no weights.safetensors; let the training save its model, "
            "or leave out the prune and lowRank steps"
        )
    try:
        load_model(module, source.weights)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        why = " ".join(lines[1:3] or lines)
        raise WeightsMismatchError(
            f"spec.entrypoint.model: {tune.model} in {tune.script} is not the module that the source was made of: "
            f"{why[:500]}; name the function or class that made it"
        ) from error


def _imported(script: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        raise ModelNotFoundError(f"spec.entrypoint.script: {script.name} is no Python file; name one that ends in .py")
    code = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = code
    sys.argv = [str(script)]
    with _training_refused(script):
        spec.loader.exec_module(code)
    return code


@contextmanager
def _training_refused(script: Path) -> Iterator[None]:
    def refuse() -> None:
        raise ModelNotFoundError(f"spec.entrypoint.script: {script.name} trains when it is imported; {_GUARD}")

    own: Callable[[], object] = session.run
    vars(session)["run"] = refuse
    try:
        yield
    finally:
        vars(session)["run"] = own


def _gives_module(value: object, code: ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", None) == code.__name__
