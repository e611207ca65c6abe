"""Training under Modelyard: ``run`` for the user's script, ``modelyard_trainer.launch`` for the pod.

``Run`` is what ``run`` gives; ``ElasticSampler`` deals out samples to a number of ranks that may change.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelyard_trainer.sampler import ElasticSampler
    from modelyard_trainer.session import Run, run

__all__ = ["ElasticSampler", "Run", "run"]
_HOME = {"ElasticSampler": "modelyard_trainer.sampler"}


def __getattr__(name: str) -> object:
    # The launcher answers SIGTERM, and says what is wrong with its run, before torch, which takes seconds, is imported.
    if name in __all__:
        return getattr(importlib.import_module(_HOME.get(name, "modelyard_trainer.session")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
