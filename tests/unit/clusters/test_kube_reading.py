"""What the Kubernetes cluster knows without asking: paths, the cache, and whether an object is as it was applied."""

import pytest
from pydantic import JsonValue

from modelyard.api.labels import labels_of
from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.api.workloads import Service
from modelyard.clusters.kube.cache import Cache
from modelyard.clusters.kube.drift import APPLIED_ANNOTATION, holds, stamped
from modelyard.clusters.kube.resources import resource_types
from modelyard.kinds import KINDS

KEY = ObjectKey("Service", "default", "digits")
OWNER = ("ModelService", "default", "digits")


def service(version: int, uid: str = "u") -> JsonObject:
    labels: JsonObject = {**labels_of("ModelService", "digits", "server")}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "digits",
            "namespace": "default",
            "uid": uid,
            "resourceVersion": f"{version}",
            "labels": labels,
        },
        "spec": {"selector": {"version": f"{version}"}},
    }


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("TrainingJob", "/apis/modelyard.dev/v1alpha1/namespaces/n/trainingjobs/x"),
        ("Job", "/apis/batch/v1/namespaces/n/jobs/x"),
        ("Deployment", "/apis/apps/v1/namespaces/n/deployments/x"),
        ("HorizontalPodAutoscaler", "/apis/autoscaling/v2/namespaces/n/horizontalpodautoscalers/x"),
        ("ConfigMap", "/api/v1/namespaces/n/configmaps/x"),
        ("PersistentVolumeClaim", "/api/v1/namespaces/n/persistentvolumeclaims/x"),
    ],
)
def test_every_kind_has_its_path(kind: str, path: str) -> None:
    assert resource_types(KINDS)[kind].path(ObjectKey(kind, "n", "x")) == path


def test_a_status_is_below_its_object() -> None:
    key = ObjectKey("TrainingJob", "n", "x")
    assert resource_types(KINDS)["TrainingJob"].path(key, "status").endswith("/trainingjobs/x/status")


def test_an_older_version_never_replaces_a_newer_one() -> None:
    cache = Cache()
    assert [cache.put(service(version)) for version in (9, 10, 9, 10)] == [True, True, False, False]
    assert cache.get(KEY) == service(10)


def test_a_new_object_of_the_same_name_is_news() -> None:
    cache = Cache()
    assert [cache.put(service(9)), cache.put(service(3, uid="other"))] == [True, True]


def test_a_deletion_wins_over_what_was_written_before_whichever_is_seen_first() -> None:
    cache = Cache()
    news = [cache.put(service(1)), cache.remove(service(3)), cache.put(service(2)), cache.put(service(4))]
    assert (news, cache.remove(service(3)), cache.get(KEY)) == ([True, True, False, True], False, service(4))


@pytest.mark.parametrize(
    ("kind", "namespace", "listed", "version", "expected"),
    [
        ("Service", "", [], 5, [service(5)]),
        ("Service", "default", [], 9, [service(5)]),
        ("Service", "", [KEY], 5, []),
        ("Service", "", [], 4, []),
        ("Service", "other", [], 5, []),
        ("Pod", "", [], 5, []),
    ],
    ids=["lacked", "lacked in its namespace", "listed", "newer than the list", "of another namespace", "another kind"],
)
def test_what_a_list_lacks_is_forgotten_unless_it_is_newer(
    kind: str, namespace: str, listed: list[ObjectKey], version: int, expected: list[JsonObject]
) -> None:
    cache = Cache()
    cache.put(service(5))
    gone = cache.prune(kind, namespace, listed, version)
    assert (gone, cache.get(KEY) is None, list(cache.owned(OWNER, Service)) == []) == (
        expected,
        bool(expected),
        bool(expected),
    )


def test_children_are_found_by_their_owners_labels_until_they_are_gone() -> None:
    cache = Cache()
    cache.put(service(1))
    found = [child.spec.selector for child in cache.owned(OWNER, Service)]
    cache.remove(service(2))
    cache.remove(service(2))
    assert (found, list(cache.owned(OWNER, Service)), cache.get(KEY)) == ([{"version": "1"}], [], None)


def test_all_that_is_watched_is_listed_in_a_namespace_or_in_all() -> None:
    resources = resource_types(KINDS)
    watched = {kind for kind, resource in resources.items() if resource.selector is not None}
    assert watched == {kind.name for kind in KINDS} | {
        "ConfigMap",
        "Service",
        "Job",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Pod",
    }
    assert resources["Job"].collection("n") == "/apis/batch/v1/namespaces/n/jobs"
    assert resources["Pod"].collection("") == "/api/v1/pods"


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 2, "d": 3}], "e": 4}}, True),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"a": [], "b": {}}, {}, True),
        ({"a": "x"}, {}, False),
        ({"a": "x"}, {"a": ["x"]}, False),
    ],
)
def test_an_object_holds_what_was_applied_whatever_the_server_added(
    wanted: JsonValue, found: JsonValue, *, expected: bool
) -> None:
    assert holds(wanted, found) == expected


def test_a_stamp_follows_the_content() -> None:
    def stamp(body: JsonObject) -> JsonValue:
        metadata = stamped(body)["metadata"]
        assert isinstance(metadata, dict)
        assert isinstance(metadata["annotations"], dict)
        return metadata["annotations"][APPLIED_ANNOTATION]

    assert stamp(service(1)) == stamp(service(1))
    assert stamp(service(1)) != stamp(service(2))
