"""What the server and its model say of themselves, in the documents of each protocol."""

from collections.abc import Callable, Mapping
from importlib import metadata

from modelyard.contract.artifact import TensorSpec
from modelyard_server import openapi
from modelyard_server.http_messages import Response, json_response
from modelyard_server.metrics import CONTENT_TYPE
from modelyard_server.routes import Action, Route
from modelyard_server.service import Service
from modelyard_server.tensors import Signature
from modelyard_server.v1 import SIGNATURE_NAME

NAME = "modelyard"
PLATFORM = "onnx_onnxv1"
MAX_BATCH_SIZE = 256
"""The largest batch that load generators should try; a request may hold as many rows as its payload allows."""

_NANO = 1e9
_TRITON_TYPES: Mapping[str, str] = {"BYTES": "TYPE_STRING"}
_TENSORFLOW_TYPES: Mapping[str, str] = {"BYTES": "STRING", "FP16": "HALF", "FP32": "FLOAT", "FP64": "DOUBLE"}


def answer(route: Route, service: Service) -> Response:
    """The answer to any question but for inference. Raises RequestError (503) where it must wait for the model."""
    if route.action is Action.METRICS:
        return Response(200, (service.metrics.render(),), CONTENT_TYPE)
    return json_response(_DOCUMENTS[route.action](service))


def server() -> dict[str, object]:
    """``GET /v2`` (Open Inference Protocol, "Server Metadata")."""
    return {
        "name": NAME,
        "version": metadata.version("modelyard"),
        "extensions": ["binary_tensor_data", "model_configuration", "statistics"],
    }


def model(signature: Signature) -> dict[str, object]:
    """``GET /v2/models/{model}`` (Open Inference Protocol, "Model Metadata")."""
    return {
        "name": signature.model,
        "versions": [signature.version],
        "platform": PLATFORM,
        "inputs": [_tensor(spec) for spec in signature.inputs],
        "outputs": [_tensor(spec) for spec in signature.outputs],
    }


def config(service: Service) -> dict[str, object]:
    """``GET /v2/models/{model}/config``: the part of Triton's ModelConfig that perf_analyzer reads, and the tuning.

    Where ``max_batch_size`` is not 0, the batch dimension is left out of ``dims``.
    Source: triton-inference-server/server docs/protocol/extension_model_configuration.md.
    """
    signature = service.signature
    document: dict[str, object] = {
        "name": signature.model,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": MAX_BATCH_SIZE if signature.batched else 0,
        "input": [_triton_tensor(spec, signature) for spec in signature.inputs],
        "output": [_triton_tensor(spec, signature) for spec in signature.outputs],
    }
    if (tuning := service.tuning) is not None:
        document["instance_group"] = [{"kind": "KIND_CPU", "count": tuning.instances}]
        document["modelyard"] = {"tuning": tuning.document(), "providers": list(service.model.providers)}
    return document


def stats(service: Service) -> dict[str, object]:
    """``GET /v2/models/{model}/stats``. Times are in nanoseconds.

    Source: triton-inference-server/server docs/protocol/extension_statistics.md.
    """
    metrics, signature = service.metrics, service.signature

    def spent(count: int, seconds: float) -> dict[str, int]:
        return {"count": count, "ns": round(seconds * _NANO)}

    return {
        "model_stats": [
            {
                "name": signature.model,
                "version": signature.version,
                "last_inference": metrics.last_inference_milliseconds,
                "inference_count": metrics.run_rows,
                "execution_count": metrics.computed.count,
                "inference_stats": {
                    "success": spent(metrics.successes, metrics.request_seconds),
                    "fail": spent(metrics.failures, 0),
                    "queue": spent(metrics.queued.count, metrics.queued.total),
                    "compute_input": spent(metrics.jobs, 0),
                    "compute_infer": spent(metrics.jobs, metrics.job_seconds),
                    "compute_output": spent(metrics.jobs, 0),
                },
                "batch_stats": [],
            }
        ]
    }


def v1_status(signature: Signature) -> dict[str, object]:
    """``GET /v1/models/{model}`` (TensorFlow Serving, "Model status API")."""
    status = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": signature.version, "state": "AVAILABLE", "status": status}]}


def v1_metadata(signature: Signature) -> dict[str, object]:
    """``GET /v1/models/{model}/metadata`` (TensorFlow Serving, "Model Metadata API")."""
    definition = {
        "inputs": {spec.name: _tensorflow_tensor(spec) for spec in signature.inputs},
        "outputs": {spec.name: _tensorflow_tensor(spec) for spec in signature.outputs},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": signature.model, "signature_name": "", "version": signature.version},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE_NAME: definition}}},
    }


def _tensor(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _triton_tensor(spec: TensorSpec, signature: Signature) -> dict[str, object]:
    datatype = _TRITON_TYPES.get(spec.datatype, f"TYPE_{spec.datatype}")
    return {"name": spec.name, "data_type": datatype, "dims": spec.shape[1:] if signature.batched else spec.shape}


def _tensorflow_tensor(spec: TensorSpec) -> dict[str, object]:
    shape = {"dim": [{"size": str(size), "name": ""} for size in spec.shape], "unknown_rank": False}
    datatype = _TENSORFLOW_TYPES.get(spec.datatype, spec.datatype)
    return {"dtype": f"DT_{datatype}", "tensor_shape": shape, "name": f"{spec.name}:0"}


def _ready(service: Service) -> dict[str, object]:
    service.check_ready()
    return {"ready": True}


_DOCUMENTS: Mapping[Action, Callable[[Service], dict[str, object]]] = {
    Action.LIVE: lambda _: {"live": True},
    Action.READY: _ready,
    Action.SERVER: lambda _: server(),
    Action.OPENAPI: lambda service: openapi.document(service.signature),
    Action.MODEL: lambda service: model(service.signature),
    Action.MODEL_READY: lambda service: {"name": service.run.name, **_ready(service)},
    Action.MODEL_CONFIG: config,
    Action.MODEL_STATS: stats,
    Action.V1_STATUS: lambda service: v1_status(service.signature),
    Action.V1_METADATA: lambda service: v1_metadata(service.signature),
}
