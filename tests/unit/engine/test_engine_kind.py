import pytest

from modelyard.api.children import Children
from modelyard.api.metadata import KubeObject, ObjectKey, ObjectMeta
from modelyard.api.workloads import ConfigMap
from modelyard.engine.kind import SourceReference

CLAIM = SourceReference("spec.claim", ObjectKey("PersistentVolumeClaim", "default", "models"), at_start=True)
CODE = SourceReference(
    "spec.code", ObjectKey("ConfigMap", "default", "code"), copy=ObjectKey("ConfigMap", "default", "a-code")
)
SOURCE = SourceReference("spec.source", ObjectKey("TrainingJob", "default", "digits"))


def config_map(name: str) -> KubeObject:
    return ConfigMap(metadata=ObjectMeta(name=name))


@pytest.mark.parametrize(
    ("children", "expected"),
    [([], [CLAIM, CODE, SOURCE]), ([config_map("a-run")], [CODE, SOURCE]), ([config_map("a-code")], [SOURCE])],
    ids=["nothing made yet", "its copy lost", "all made"],
)
def test_a_source_is_looked_at_as_long_as_something_may_still_be_taken_of_it(
    children: list[KubeObject], expected: list[SourceReference]
) -> None:
    needed = [each for each in (CLAIM, CODE, SOURCE) if each.needed(Children(objects=tuple(children)))]
    assert needed == expected
