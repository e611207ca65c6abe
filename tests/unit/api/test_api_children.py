from modelyard.api.children import Children
from modelyard.api.metadata import ObjectMeta
from modelyard.api.pods import Container, Pod, PodSpec
from modelyard.api.workloads import ConfigMap, Job


def pod(name: str, attempt: str) -> Pod:
    metadata = ObjectMeta(name=name, labels={"modelyard.dev/attempt": attempt})
    return Pod(metadata=metadata, spec=PodSpec(containers=[Container(name="a", image="a")]))


def test_a_child_is_found_by_type_and_name() -> None:
    children = Children(objects=(ConfigMap(metadata=ObjectMeta(name="a"), data={"x": "1"}),))
    assert children.find(ConfigMap, "a") == children.objects[0]
    assert (children.find(Job, "a"), children.find(ConfigMap, "b")) == (None, None)


def test_the_pods_of_an_attempt_are_in_order() -> None:
    children = Children(pods=(pod("j-2-1", "2"), pod("j-1-0", "1"), pod("j-2-0", "2")))
    assert [each.metadata.name for each in children.of_attempt(2)] == ["j-2-0", "j-2-1"]


def test_a_manifest_to_apply_has_no_status_and_no_empty_metadata() -> None:
    child = ConfigMap(metadata=ObjectMeta(name="a", labels={"x": "y"}), data={"k": "v"})
    assert child.to_manifest() == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "default", "labels": {"x": "y"}},
        "data": {"k": "v"},
    }
