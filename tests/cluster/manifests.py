"""Objects of the three kinds as YAML says them, from the least that each kind asks for."""

import httpx
import yaml

from operators import Object

PLURALS = {"TrainingJob": "trainingjobs", "CompressionJob": "compressionjobs", "ModelService": "modelservices"}
IMMUTABLE = "spec: cannot be changed; delete the job, or give the new one another name"
DIGEST = f"sha256:{64 * '0'}"

# The least that each kind asks for, and what the server adds to it.
LEAST = {
    "TrainingJob": "entrypoint: {module: m}",
    "CompressionJob": "{source: {trainingJob: {name: b}}, output: {uri: pvc://m/x}}",
    "ModelService": "model: {trainingJob: {name: b}}",
}
DEFAULTS = {
    "TrainingJob": """
        nodes: 1
        backend: Auto
        restart: {processRestarts: 2, maxRestarts: 3, backoffSeconds: 5}
        scheduling: {gang: Auto}
        suspend: false
        cleanup: {pods: Never}
        """,
    "CompressionJob": """
        data: {calibration: {samples: 256, seed: 0}}
        metric: {name: Top1}
        recipe:
        - optimise: {}
        - quantize: {}
        search: {maxTrials: 16, parallelism: 1}
        gates: {accuracyDropBy: Mean, onFailure: Reject}
        target: {batchSizes: [1]}
        suspend: false
        backoffLimit: 2
        """,
    "ModelService": """
        runtime: {executionProviders: [Cpu]}
        protocols: {grpc: true, maxPayload: 64Mi}
        batching: {mode: Auto, maxDelayMilliseconds: 0, maxQueue: 256}
        drain: {preStopSeconds: 5, graceSeconds: 30}
        """,
}


def spec(*layers: str) -> Object:
    """The fields of all layers; a later one wins."""
    return {name: value for layer in layers for name, value in yaml.safe_load(layer).items()}


def custom(kind: str, *layers: str, name: str = "a") -> Object:
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec(LEAST[kind], *layers),
    }


def path(kind: str, namespace: str) -> str:
    return f"/apis/modelyard.dev/v1alpha1/namespaces/{namespace}/{PLURALS[kind]}"


def apply(client: httpx.Client, namespace: str, written: Object) -> httpx.Response:
    return client.patch(
        f"{path(written['kind'], namespace)}/{written['metadata']['name']}",
        params={"fieldManager": "test"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=yaml.safe_dump(written),
    )
