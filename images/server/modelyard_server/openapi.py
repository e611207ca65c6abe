"""The OpenAPI 3.1 document of one model: ``GET /openapi.json``."""

from collections.abc import Mapping, Sequence
from importlib import metadata

from modelyard.contract.artifact import TensorSpec
from modelyard_server.tensors import Signature

_JSON_VALUES: Mapping[str, Mapping[str, object]] = {
    "BOOL": {"type": "boolean"},
    "BYTES": {"type": "string"},
    "FP32": {"type": "number"},
    "FP64": {"type": "number"},
}
_NO_JSON_FORM = ("FP16", "BF16")


def document(signature: Signature) -> dict[str, object]:
    """All paths of the server, with the tensors of its model."""
    v2, v1 = f"/v2/models/{signature.model}", f"/v1/models/{signature.model}"
    versions = f"{v2}/versions/{signature.version}"
    infer = _operation(
        "Infer (Open Inference Protocol v2)",
        _reference("InferResponse"),
        body=_reference("InferRequest"),
        codes=(400, 413, 503, 504),
    )
    predict = _operation(
        "Predict (TensorFlow Serving v1)",
        _reference("PredictResponse"),
        body=_reference("PredictRequest"),
        codes=(400, 413, 503, 504),
    )
    live = _object({"live": {"type": "boolean"}})
    ready = _object({"ready": {"type": "boolean"}})
    model_ready = _object({"name": {"type": "string"}, "ready": {"type": "boolean"}})
    text = {"type": "string"}
    server = _object({"name": text, "version": text, "extensions": {"type": "array", "items": text}})
    return {
        "openapi": "3.1.0",
        "info": {"title": f"modelyard: {signature.model}", "version": metadata.version("modelyard")},
        "paths": {
            f"{v2}/infer": {"post": infer},
            f"{versions}/infer": {"post": infer},
            f"{v1}:predict": {"post": predict},
            "/v2/health/live": {"get": _operation("Whether the process lives", live)},
            "/v2/health/ready": {"get": _operation("Whether it takes requests", ready, codes=(503,))},
            "/v2": {"get": _operation("The server", server)},
            v2: {"get": _operation("The model's tensors", _reference("Model"), codes=(503,))},
            f"{v2}/ready": {"get": _operation("Whether the model takes requests", model_ready, codes=(503,))},
            f"{v2}/config": {"get": _operation("The model's configuration", {"type": "object"}, codes=(503,))},
            f"{v2}/stats": {"get": _operation("The model's statistics", {"type": "object"}, codes=(503,))},
            v1: {"get": _operation("The version's state", {"type": "object"}, codes=(503,))},
            f"{v1}/metadata": {"get": _operation("The model's signature", {"type": "object"}, codes=(503,))},
        },
        "components": {"schemas": _schemas(signature)},
    }


def _schemas(signature: Signature) -> dict[str, object]:
    text = {"type": "string"}
    tensor = _object(
        {"name": text, "datatype": text, "shape": {"type": "array", "items": {"type": "integer"}}},
    )
    parameters = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
    output = {"type": "object", "properties": {"name": text, "parameters": parameters}, "required": ["name"]}
    return {
        "Error": _object({"error": text}),
        "Model": _object(
            {
                "name": text,
                "versions": {"type": "array", "items": text},
                "platform": text,
                "inputs": {"type": "array", "items": tensor},
                "outputs": {"type": "array", "items": tensor},
            }
        ),
        "InferRequest": {
            "type": "object",
            "properties": {
                "id": text,
                "parameters": parameters,
                "inputs": {
                    "type": "array",
                    "items": {"oneOf": [_tensor(spec, parameters) for spec in signature.inputs]},
                    "minItems": len(signature.inputs),
                    "maxItems": len(signature.inputs),
                },
                "outputs": {"type": "array", "items": output},
            },
            "required": ["inputs"],
        },
        "InferResponse": {
            "type": "object",
            "properties": {
                "model_name": text,
                "model_version": text,
                "id": text,
                "outputs": {
                    "type": "array",
                    "items": {"oneOf": [_tensor(spec, parameters) for spec in signature.outputs]},
                },
            },
            "required": ["model_name", "model_version", "outputs"],
        },
        "PredictRequest": {
            "type": "object",
            "properties": {
                "signature_name": {"const": "serving_default"},
                "instances": {"type": "array"},
                "inputs": {},
            },
            "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
        },
        "PredictResponse": {"type": "object"},
    }


def _tensor(spec: TensorSpec, parameters: Mapping[str, object]) -> dict[str, object]:
    sizes = [{"type": "integer", "minimum": 0} if size == -1 else {"const": size} for size in spec.shape]
    shape = {"type": "array", "prefixItems": sizes, "minItems": len(sizes), "maxItems": len(sizes)}
    properties: dict[str, object] = {
        "name": {"const": spec.name},
        "datatype": {"const": spec.datatype},
        "shape": shape,
        "parameters": parameters,
    }
    if spec.datatype not in _NO_JSON_FORM:
        properties["data"] = {"type": "array", "items": _JSON_VALUES.get(spec.datatype, {"type": "integer"})}
    return {"type": "object", "properties": properties, "required": ["name", "datatype", "shape"]}


def _operation(
    summary: str, answer: Mapping[str, object], *, body: Mapping[str, object] | None = None, codes: Sequence[int] = ()
) -> dict[str, object]:
    def content(schema: Mapping[str, object]) -> dict[str, object]:
        return {"application/json": {"schema": schema}}

    responses: dict[str, object] = {"200": {"description": "The answer", "content": content(answer)}}
    for code in codes:
        responses[str(code)] = {"description": "Why not", "content": content(_reference("Error"))}
    operation: dict[str, object] = {"summary": summary, "responses": responses}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": content(body)}
    return operation


def _object(properties: Mapping[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _reference(name: str) -> dict[str, object]:
    return {"$ref": f"#/components/schemas/{name}"}
