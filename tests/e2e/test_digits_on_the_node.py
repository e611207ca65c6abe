"""The example of the quickstart on a real node: ``kubectl apply``, and what its user sees until the service answers."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from installed import Kubectl, Place, place
from node_stage import folder_of_claim
from operators import Object, settled
from waiting import until

EXAMPLE = Path(__file__).parents[2] / "docs/examples/digits/digits.yaml"
KINDS = {"trainingjobs": "digits", "compressionjobs": "digits-int8", "modelservices": "digits"}
OURS = "trainingjobs,compressionjobs,modelservices"
ALL = f"{OURS},jobs,deployments,services,configmaps,persistentvolumeclaims,horizontalpodautoscalers"
TABLE = "jsonpath={range .items[*]}{.kind} {.metadata.name} {.status.state}{'\\n'}{end}"


@pytest.fixture(scope="module")
def seen() -> list[str]:
    """What ``kubectl get`` showed while the example went on."""
    return []


@pytest.fixture(scope="module")
def digits(client: httpx.Client, kubectl: Kubectl, modelyard: None, seen: list[str]) -> Iterator[Place]:
    """The example, applied and Ready."""
    with place(client, kubectl, "digits") as digits:
        digits.kubectl("apply", "-f", str(EXAMPLE))

        def ready() -> bool:
            table = digits.kubectl("get", OURS, "-o", TABLE)
            if table not in seen:
                seen.append(table)
            for plural, name in KINDS.items():
                digits.assert_alive(plural, name)
            return digits.condition("modelservices", "digits", "Ready") == "True"

        until(ready, "the service is Ready", seconds=600)
        yield digits


def parts() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images to train with and those that train.py holds out, then what they show."""
    scans, labels = load_digits(return_X_y=True)
    images = (scans / 16).reshape(-1, 1, 8, 8).astype(np.float32)
    found: list[np.ndarray] = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=0)
    train, test, train_labels, test_labels = found
    return train, test, train_labels, test_labels


def objects(digits: Place) -> list[Object]:
    found: list[Object] = json.loads(digits.kubectl("get", ALL, "-o", "json"))["items"]
    return [each for each in found if each["metadata"]["name"] != "kube-root-ca.crt"]


def versions(digits: Place) -> dict[str, str]:
    found = [(each["kind"], each["metadata"]) for each in objects(digits)]
    return {f"{kind}/{metadata['name']}": metadata["resourceVersion"] for kind, metadata in found}


def test_the_service_answers_right(digits: Place) -> None:
    _, images, _, labels = parts()
    tensor = {"name": "image", "datatype": "FP32", "shape": images.shape, "data": images.ravel().tolist()}
    answer = httpx.post(f"{digits.url('digits')}/v2/models/digits/infer", json={"inputs": [tensor]}, timeout=30)
    logits = answer.raise_for_status().json()["outputs"][0]["data"]
    rows = [logits[start : start + 10] for start in range(0, len(logits), 10)]
    right = sum(row.index(max(row)) == label for row, label in zip(rows, labels, strict=True))
    assert right / len(labels) >= 0.97


def test_the_pods_told_how_they_work(digits: Place) -> None:
    until(lambda: "tuning" in digits.cluster.status("modelservices", "digits"), "how the model runs")
    tuning = digits.cluster.status("modelservices", "digits")["tuning"]
    assert (tuning["provider"], tuning["threads"], tuning["rowsPerSecond"] > 0) == ("Cpu", 1, True)
    assert digits.cluster.status("compressionjobs", "digits-int8")["progress"]["stage"] == "Publishing"


def test_kubectl_wait_returns(digits: Place) -> None:
    for name in ("tjob/digits", "cjob/digits-int8"):
        digits.kubectl("wait", "--for=condition=Complete", name, "--timeout=10s")
    digits.kubectl("wait", "--for=condition=Ready", "msvc/digits", "--timeout=10s")


def test_no_state_was_ever_empty(digits: Place, seen: list[str]) -> None:
    rows = [row.split() for table in seen for row in table.splitlines()]
    assert {len(row) for row in rows} == {3}, seen
    assert len(seen) >= 4, "the states of the three were seen to change"


def test_two_pods_of_two_processes_trained(digits: Place) -> None:
    pods = digits.kubectl("get", "pods", "-l", "modelyard.dev/kind=TrainingJob", "-o", "name").split()
    assert len(pods) == 2
    logs = "".join(digits.kubectl("logs", pod) for pod in pods)
    # 15 epochs of 1,437 images, 32 for each of 4 processes: 165 steps; one process alone would need 675.
    assert "step 165/165" in logs, logs


def test_digests_are_handed_on(digits: Place) -> None:
    training, compression, service = (digits.cluster.status(plural, name) for plural, name in KINDS.items())
    assert compression["source"]["digest"] == training["artifact"]["digest"]
    assert service["model"]["digest"] == compression["artifact"]["digest"]


def test_the_trained_model_is_pruned_and_distilled_by_pods_of_the_trainer(digits: Place) -> None:
    folder = folder_of_claim(digits, "models")
    assert folder is not None
    images, _, labels, _ = parts()
    np.savez(folder / "train.npz", allow_pickle=False, image=images, labels=labels)
    recipe = [
        {"prune": {"ratio": ["0.5"], "finetuneEpochs": 6}},
        {"distil": {}},
        {"quantize": {"perChannel": [True], "rangeRepair": [False]}},
    ]
    spec = {
        "source": {"trainingJob": {"name": "digits"}},
        "code": {"configMap": {"name": "digits-code"}},
        "entrypoint": {"script": "train.py", "model": "network"},
        "data": {"training": {"uri": "pvc://models/train.npz"}},
        "recipe": recipe,
        "tuning": {"nodes": 2},
        "gates": {"maxAccuracyDrop": "0.05"},
        "output": {"uri": "pvc://models/digits-small"},
    }
    about = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "CompressionJob", "metadata": {"name": "digits-small"}}
    digits.apply({**about, "spec": spec})
    messages = set()

    def complete() -> bool:
        messages.add(digits.cluster.status("compressionjobs", "digits-small").get("message", ""))
        digits.assert_alive("compressionjobs", "digits-small")
        return digits.condition("compressionjobs", "digits-small", "Complete") == "True"

    until(complete, "the compression", seconds=300)
    status = digits.cluster.status("compressionjobs", "digits-small")
    assert [each["name"] for each in status["tuned"]] == ["pruned-0.5"]
    assert status["trials"] == {"measured": 2, "infeasible": 0, "skipped": 0}
    assert any(each.startswith("tuning: ") and "start" not in each for each in messages), messages
    digits.kubectl("delete", "cjob", "digits-small")


def test_explain_and_get_speak_for_themselves(digits: Place) -> None:
    assert "restart" in digits.kubectl("explain", "tjob.spec.restart").lower()
    table = digits.kubectl("get", "tjob,cjob,msvc")
    assert table.count("Complete") == 2
    assert "Ready" in table


def test_events_tell_the_story_once(digits: Place) -> None:
    events = json.loads(digits.kubectl("get", "events.events.k8s.io", "-o", "json"))["items"]
    ours = [(each["reason"], each["note"]) for each in events if each["regarding"]["kind"] == "TrainingJob"]
    assert ours, "there are events"
    assert len(ours) == len(set(ours)), ours


def test_applying_it_again_changes_nothing(digits: Place) -> None:
    before = versions(digits)
    printed = digits.kubectl("apply", "-f", str(EXAMPLE))
    assert {line.rsplit(" ", 1)[-1] for line in printed.splitlines()} == {"unchanged"}
    assert settled(lambda: versions(digits)) == before


def test_nothing_foreign_is_on_the_objects(digits: Place) -> None:
    for each in objects(digits):
        if each["kind"] in ("TrainingJob", "CompressionJob", "ModelService"):
            assert set(each["metadata"].get("annotations", {})) == {"kubectl.kubernetes.io/last-applied-configuration"}
            assert "finalizers" not in each["metadata"]


def test_children_deleted_or_edited_are_put_back_and_the_service_goes_on(digits: Place) -> None:
    [deployment] = [each for each in objects(digits) if each["kind"] == "Deployment"]
    name = deployment["metadata"]["name"]
    digits.kubectl("label", "deployment", name, "modelyard.dev/revision=edited", "--overwrite")
    digits.kubectl("delete", "service", "digits")

    def mended() -> bool:
        found = digits.cluster.get("deployments", name)
        revision = found and found["metadata"]["labels"]["modelyard.dev/revision"]
        return revision != "edited" and digits.cluster.get("services", "digits") is not None

    until(mended, "both are put back")
    digits.url("digits")
