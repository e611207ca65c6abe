"""What is sent for an Event."""

from datetime import UTC, datetime

from modelyard.api.metadata import API_VERSION, JsonObject, KubeObject, ObjectMeta
from modelyard.clusters.kube.recorder import manifest
from modelyard.engine.events import Event

NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)


def about(version: str = "7") -> KubeObject:
    metadata = ObjectMeta(name="digits", namespace="n", uid="u", resource_version=version)
    return KubeObject(api_version=API_VERSION, kind="TrainingJob", metadata=metadata)


def name(body: JsonObject) -> object:
    metadata = body["metadata"]
    assert isinstance(metadata, dict)
    return metadata["name"]


def test_an_event_names_its_object_and_who_says_so() -> None:
    body = manifest(about(), Event("Normal", "AllPodsRun", "attempt 1"), "pod-1", NOW)
    assert body == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name(body), "namespace": "n"},
        "eventTime": "2026-01-02T03:04:05.000006Z",
        "reportingController": "modelyard.dev/operator",
        "reportingInstance": "pod-1",
        "action": "Reconcile",
        "regarding": {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "TrainingJob",
            "namespace": "n",
            "name": "digits",
            "uid": "u",
            "resourceVersion": "7",
        },
        "type": "Normal",
        "reason": "AllPodsRun",
        "note": "attempt 1",
    }


def test_the_same_said_of_the_same_version_has_one_name_whoever_says_it_when() -> None:
    event = Event("Normal", "AllPodsRun", "attempt 1")
    first = name(manifest(about(), event, "pod-1", NOW))
    assert name(manifest(about(), event, "pod-2", LATER)) == first
    assert name(manifest(about("8"), event, "pod-1", NOW)) != first
    assert name(manifest(about(), Event("Normal", "AllPodsRun", "attempt 2"), "pod-1", NOW)) != first


def test_a_note_is_cut_between_characters_to_what_the_server_takes() -> None:
    note = manifest(about(), Event("Normal", "Long", "aä" * 600), "pod-1", NOW)["note"]
    assert note == "aä" * 341 + "a"
