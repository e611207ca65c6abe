"""The CRDs on a real API server: what they accept and fill in, and what they refuse with which words."""

import httpx
import pytest
import yaml

from crds import complaints
from manifests import DEFAULTS, DIGEST, IMMUTABLE, LEAST, PLURALS, apply, custom, path, spec
from operators import Object

# Kind, what is written besides the least, and what is stored besides the least and the defaults.
ACCEPTED = {
    "a bucket and the keys to it": (
        "TrainingJob",
        "output: {uri: 's3://models/a', secretRef: {name: store}}",
        "output: {uri: 's3://models/a', secretRef: {name: store}}",
    ),
    "the least of a training": ("TrainingJob", "{}", "{}"),
    "the least of a compression": ("CompressionJob", "{}", "{}"),
    "the least of a service": ("ModelService", "{}", "{}"),
    "a quantity that is a number": (
        "TrainingJob",
        "resources: {limits: {cpu: 1, memory: 1Gi}}",
        "resources: {limits: {cpu: 1, memory: 1Gi}}",
    ),
    "gates with an output": (
        "TrainingJob",
        "{output: {uri: pvc://m/x}, gates: [{metric: a, value: '0.1'}]}",
        "{output: {uri: pvc://m/x}, gates: [{metric: a, value: '0.1'}]}",
    ),
    "evaluation data only": (
        "CompressionJob",
        "data: {evaluation: {uri: pvc://m/a.npz}}",
        "data: {calibration: {samples: 256, seed: 0}, evaluation: {uri: pvc://m/a.npz}}",
    ),
    "the least of an autoscaler": (
        "ModelService",
        "{resources: {limits: {cpu: 1}}, autoscaling: {maxReplicas: 3}}",
        """
        resources: {limits: {cpu: 1}}
        autoscaling: {minReplicas: 1, maxReplicas: 3, metrics: [{type: Cpu}]}
        """,
    ),
    "a toleration": (
        "ModelService",
        "pod: {tolerations: [{key: a, value: b}]}",
        "pod: {tolerations: [{key: a, value: b}]}",
    ),
    "a field that nobody knows": ("TrainingJob", "nope: 1", "{}"),
}

RESERVED = (
    "Modelyard sets this variable itself; choose another name (reserved names: RANK, LOCAL_RANK, GROUP_RANK,"
    " WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT, JOB_COMPLETION_INDEX, OMP_NUM_THREADS, PYTHONUNBUFFERED"
    " and all that start with PET_, MODELYARD_, TORCHELASTIC_, KUBEFLOW_TRAINER_)"
)
RESERVED_OF_A_SERVER = (
    "Modelyard sets this variable itself; choose another name (reserved names: OMP_NUM_THREADS, PYTHONUNBUFFERED"
    " and all that start with MODELYARD_)"
)
LAST_STEP = "spec: recipe: exactly one quantize step, and it is the last"
ONE_MODEL = "spec.model: set exactly one of compressionJob, trainingJob and artifact"
BOTH = (
    "spec: set replicas or autoscaling, not both: the autoscaler sets the number of pods (replicas: null takes it away)"
)
CPU_REQUEST = "spec: autoscaling by Cpu compares with the request: set resources.requests.cpu or resources.limits.cpu"
MEMORY_REQUEST = CPU_REQUEST.replace("Cpu", "Memory").replace("cpu", "memory")
ONE_STEP = "set exactly one of prune, lowRank, distil, optimise and quantize in each step"
ORDER = "spec: recipe: the steps in the order prune, lowRank, distil, optimise, quantize, each at most once"

# Kind, what is written besides the least, and all that the server has against it.
REFUSED = {
    "keys to a claim": (
        "TrainingJob",
        "output: {uri: 'pvc://models/a', secretRef: {name: store}}",
        ["spec.output: secretRef is for s3://, gs:// and az:// only: a claim is mounted and needs no keys"],
    ),
    "keys to no place": (
        "CompressionJob",
        "data: {calibration: {secretRef: {name: store}}}",
        ["spec.data.calibration: secretRef is for s3://, gs:// and az:// only: a claim is mounted and needs no keys"],
    ),
    "a script without code": (
        "TrainingJob",
        "entrypoint: {script: t.py}",
        ["spec: entrypoint.script is a file of the code: set code.configMap or code.git"],
    ),
    "a script and a module": (
        "TrainingJob",
        "{entrypoint: {module: m, script: t.py}, code: {configMap: {name: x}}}",
        ["spec.entrypoint: set exactly one of script and module"],
    ),
    "reserved variables": (
        "TrainingJob",
        "env: [{name: RANK}, {name: PET_X, value: b}, {name: OK}]",
        [f"spec.env[0]: {RESERVED}", f"spec.env[1]: {RESERVED}"],
    ),
    "code from two places": (
        "TrainingJob",
        f"code: {{configMap: {{name: x}}, git: {{url: 'https://x/y', commit: '{40 * 'a'}'}}}}",
        ["spec.code: set exactly one of configMap and git"],
    ),
    "a checkpoint to start from, and not asked for": (
        "TrainingJob",
        f"checkpoint: {{uri: pvc://m/c, from: {{uri: pvc://m/d, digest: '{DIGEST}'}}}}",
        ["spec.checkpoint: from goes with resume: From, and only with that"],
    ),
    "the best of nothing": (
        "TrainingJob",
        "checkpoint: {uri: pvc://m/c, keep: {best: 1}}",
        ["spec: checkpoint.keep.best: set progress.objective, which tells better from worse"],
    ),
    "nodes beyond elastic": (
        "TrainingJob",
        "{nodes: 5, elastic: {minNodes: 2, maxNodes: 4}}",
        ["spec: nodes: must lie between elastic.minNodes and elastic.maxNodes"],
    ),
    "a rule that fits all": (
        "TrainingJob",
        "restart: {rules: [{name: any}]}",
        ["spec.restart.rules[0]: set onExitCodes or onMessage: the rule would fit every failure"],
    ),
    "gates without an output": (
        "TrainingJob",
        "gates: [{metric: a, value: '0.1'}]",
        ["spec: gates look at the artefact: set output.uri"],
    ),
    "a path that leaves its folder": (
        "TrainingJob",
        "output: {uri: pvc://m/../x}",
        ["spec.output.uri: should match a pattern"],
    ),
    "two sources": (
        "CompressionJob",
        f"source: {{trainingJob: {{name: b}}, artifact: {{uri: pvc://m/x, digest: '{DIGEST}'}}}}",
        ["spec.source: set exactly one of trainingJob and artifact"],
    ),
    "quantize before optimise": ("CompressionJob", "recipe: [{quantize: {}}, {optimise: {}}]", [LAST_STEP, ORDER]),
    "no quantize": ("CompressionJob", "recipe: [{optimise: {}}]", [LAST_STEP]),
    "an empty step and a double one": (
        "CompressionJob",
        "recipe: [{}, {optimise: {}, quantize: {}}]",
        [f"spec.recipe[0]: {ONE_STEP}", f"spec.recipe[1]: {ONE_STEP}"],
    ),
    "one set for both uses": (
        "CompressionJob",
        "data: {calibration: {uri: pvc://m/a.npz}, evaluation: {uri: pvc://m/a.npz}}",
        ["spec.data: calibration and evaluation must be different sets"],
    ),
    "a digest of no file": (
        "CompressionJob",
        f"data: {{calibration: {{digest: '{DIGEST}'}}}}",
        ["spec.data.calibration: digest is of the file at uri: set uri too"],
    ),
    "reserved variables of a server": (
        "ModelService",
        "runtime: {env: [{name: MODELYARD_HOST}, {name: OTEL_SERVICE_NAME, value: shop}]}",
        [f"spec.runtime.env[0]: {RESERVED_OF_A_SERVER}"],
    ),
    "no model": ("ModelService", "model: {}", [ONE_MODEL]),
    "replicas and an autoscaler": (
        "ModelService",
        "{replicas: 1, resources: {limits: {cpu: 1}}, autoscaling: {maxReplicas: 3}}",
        [BOTH],
    ),
    "bounds in disorder": (
        "ModelService",
        "{resources: {limits: {cpu: 1}}, autoscaling: {minReplicas: 4, maxReplicas: 3}}",
        ["spec.autoscaling: minReplicas is above maxReplicas"],
    ),
    "a metric twice": (
        "ModelService",
        "{resources: {limits: {cpu: 1}}, autoscaling: {maxReplicas: 3, metrics: [{type: Cpu}, {type: Cpu}]}}",
        ["spec.autoscaling: metrics: each type at most once"],
    ),
    "metrics without requests": (
        "ModelService",
        "{resources: {limits: {}}, autoscaling: {maxReplicas: 3, metrics: [{type: Cpu}, {type: Memory}]}}",
        [
            CPU_REQUEST,
            MEMORY_REQUEST,
        ],
    ),
    "tolerations that Kubernetes refuses": (
        "TrainingJob",
        "pod: {tolerations: [{value: b}, {key: a, operator: Exists, value: b}, {key: a, tolerationSeconds: 3}]}",
        [
            "spec.pod.tolerations[0]: set key, or operator Exists for every taint",
            "spec.pod.tolerations[1]: operator Exists takes no value",
            "spec.pod.tolerations[2]: tolerationSeconds goes with effect NoExecute",
        ],
    ),
    "two models": ("ModelService", "model: {trainingJob: {name: b}, compressionJob: {name: b}}", [ONE_MODEL]),
}

# Kind, and a second version of the least that is another job.
CHANGED = {"TrainingJob": "entrypoint: {module: other}", "CompressionJob": "source: {trainingJob: {name: other}}"}


def test_every_crd_is_established_and_structural(crds: list[Object]) -> None:
    conditions = {
        crd["spec"]["names"]["kind"]: {each["type"]: each["status"] for each in crd["status"]["conditions"]}
        for crd in crds
    }
    assert conditions == {kind: {"NamesAccepted": "True", "Established": "True"} for kind in PLURALS}


@pytest.mark.parametrize(("kind", "written", "stored"), ACCEPTED.values(), ids=ACCEPTED)
def test_it_is_accepted_and_filled_in(
    kind: str, written: str, stored: str, crds: list[Object], client: httpx.Client, namespace: str
) -> None:
    answer = client.post(path(kind, namespace), json=custom(kind, written)).raise_for_status()
    assert answer.json()["spec"] == spec(DEFAULTS[kind], LEAST[kind], stored)


@pytest.mark.parametrize(("kind", "written", "expected"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_in_our_words(
    kind: str, written: str, expected: list[str], crds: list[Object], client: httpx.Client, namespace: str
) -> None:
    answer = client.post(path(kind, namespace), json=custom(kind, written))
    assert complaints(answer) == expected


@pytest.mark.parametrize("name", ["1a", "a.b", 46 * "a"])
@pytest.mark.parametrize("kind", PLURALS)
def test_a_name_that_no_child_could_bear_is_refused(
    kind: str, name: str, crds: list[Object], client: httpx.Client, namespace: str
) -> None:
    answer = client.post(path(kind, namespace), json=custom(kind, name=name))
    expected = "metadata.name: at most 45 characters, lower-case letters, digits and -, a letter first"
    assert complaints(answer) == [f"<nil>: {expected}"]


@pytest.mark.parametrize("kind", CHANGED)
def test_a_job_cannot_be_changed(kind: str, crds: list[Object], client: httpx.Client, namespace: str) -> None:
    apply(client, namespace, custom(kind)).raise_for_status()
    assert complaints(apply(client, namespace, custom(kind, CHANGED[kind]))) == [IMMUTABLE]


def test_a_compression_may_be_suspended(crds: list[Object], client: httpx.Client, namespace: str) -> None:
    apply(client, namespace, custom("CompressionJob")).raise_for_status()
    changed = apply(client, namespace, custom("CompressionJob", "suspend: true")).raise_for_status()
    assert changed.json()["spec"]["suspend"] is True


@pytest.mark.parametrize("kind", PLURALS)
def test_the_defaults_written_out_are_no_change(
    kind: str, crds: list[Object], client: httpx.Client, namespace: str
) -> None:
    apply(client, namespace, custom(kind)).raise_for_status()
    again = apply(client, namespace, custom(kind, DEFAULTS[kind])).raise_for_status()
    assert again.json()["metadata"]["generation"] == 1


def test_a_service_can_be_changed(crds: list[Object], client: httpx.Client, namespace: str) -> None:
    apply(client, namespace, custom("ModelService")).raise_for_status()
    changed = apply(client, namespace, custom("ModelService", "replicas: 3")).raise_for_status()
    assert changed.json()["spec"] == spec(DEFAULTS["ModelService"], LEAST["ModelService"], "replicas: 3")


def test_kubectl_is_told_of_a_field_that_nobody_knows(crds: list[Object], client: httpx.Client, namespace: str) -> None:
    written = custom("TrainingJob", "nope: 1")
    answer = client.post(path("TrainingJob", namespace), params={"fieldValidation": "Strict"}, json=written)
    assert (answer.status_code, 'unknown field "spec.nope"' in answer.json()["message"]) == (400, True)


@pytest.mark.parametrize("kind", PLURALS)
def test_an_object_shows_a_state_before_an_operator_has_seen_it(
    kind: str, crds: list[Object], client: httpx.Client, namespace: str
) -> None:
    created = client.post(path(kind, namespace), json=custom(kind)).raise_for_status().json()
    unseen = {"observedGeneration": 0, "state": "Waiting", "message": "no operator has seen it yet"}
    found = client.get(f"{path(kind, namespace)}/a").raise_for_status().json()
    assert (created["status"], found["status"]) == (unseen, unseen)
    table = client.get(path(kind, namespace), headers={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"})
    columns = [each["name"] for each in table.json()["columnDefinitions"]]
    [row] = table.json()["rows"]
    assert row["cells"][columns.index("State")] == "Waiting"


@pytest.mark.parametrize("kind", PLURALS)
def test_the_first_status_replaces_the_shown_one_and_applying_again_changes_nothing(
    kind: str, crds: list[Object], client: httpx.Client, namespace: str
) -> None:
    apply(client, namespace, custom(kind)).raise_for_status()
    status = {"observedGeneration": 1, "state": "Starting", "message": "", "conditions": []}
    written = {**custom(kind), "status": status}
    del written["spec"]
    client.patch(
        f"{path(kind, namespace)}/a/status",
        params={"fieldManager": "operator", "force": "true"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=yaml.safe_dump(written),
    ).raise_for_status()
    found = client.get(f"{path(kind, namespace)}/a").raise_for_status().json()
    assert found["status"] == status
    again = apply(client, namespace, custom(kind)).raise_for_status().json()
    assert again["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]
