"""The kinds of Modelyard. A new kind is one folder here and one name in ``KINDS``."""

from typing import cast

from modelyard.api.resource import Resource
from modelyard.engine.kind import Kind
from modelyard.kinds import compressionjob, modelservice, trainingjob

KINDS: tuple[Kind[Resource], ...] = cast(
    "tuple[Kind[Resource], ...]", (trainingjob.KIND, compressionjob.KIND, modelservice.KIND)
)
"""All kinds. The engine gives each only objects of its own model, so the cast is sound."""
