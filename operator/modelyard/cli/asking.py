"""``modelyard predict``: ask a service, about given inputs or about the samples that its model was evaluated on."""

import json
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from modelyard.api.metadata import ObjectKey
from modelyard.cli.errors import BadInput
from modelyard.cli.places import place, secret_content
from modelyard.clusters.process.store import ObjectStore
from modelyard.contract.artifact import EVALUATION_FILE, LABELS, MANIFEST_FILE, Manifest
from modelyard.contract.layout import TOKEN_KEY
from modelyard.kinds.modelservice.model import ModelService
from modelyard.storage.errors import MissingError, StorageError
from modelyard.storage.store import Store

PROTOCOLS = ("v2", "v2-binary", "v1")
BATCH = 8
DATATYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
"""Open Inference Protocol datatypes as little-endian numpy types."""

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Target:
    """A running service and the model behind it."""

    url: str
    name: str
    artifact: Store
    manifest: Manifest
    headers: dict[str, str]
    """What the service wants to see of who asks."""
    trust: ssl.SSLContext | bool
    """Whom to believe that it is the service."""


def ask(state: Path, name: str, namespace: str, input_file: Path | None, protocol: str, samples: int) -> None:
    """Print the answers for ``input_file``, or a table of how many samples were answered right. Raises BadInput."""
    target = _target(state, name, namespace)
    protocols = PROTOCOLS if protocol == "all" else (protocol,)
    with httpx.Client(timeout=30.0, trust_env=False, headers=target.headers, verify=target.trust) as client:
        try:
            if input_file is not None:
                inputs = _read(input_file, target.manifest)
                for each in protocols:
                    outputs = predict(client, target, each, inputs)
                    Console().print_json(data={key: value.tolist() for key, value in outputs.items()})
            else:
                Console(highlight=False).print(_evaluate(client, target, protocols, samples))
        except httpx.TransportError as error:
            raise BadInput(
                f"{target.url} does not answer ({error}); start it with `modelyard run FILE --keep`"
            ) from error


def _target(state: Path, name: str, namespace: str) -> Target:
    body = ObjectStore(state / "objects").get(ObjectKey("ModelService", namespace, name))
    if body is None:
        raise BadInput(f"ModelService {name!r} not found; `modelyard get msvc` lists what is there")
    service = ModelService.model_validate(body)
    status = service.status
    if status.url is None or status.model is None:
        raise BadInput(f"ModelService {name!r} serves nothing yet: {status.message}")
    try:
        artifact = place(state, namespace, status.model.uri, status.model.secret)
        manifest = Manifest.model_validate_json(artifact.fetch(MANIFEST_FILE).read_bytes())
    except StorageError as error:
        raise BadInput(str(error)) from error
    network = service.spec.network
    headers: dict[str, str] = {}
    if network.auth_secret_ref is not None:
        token = secret_content(state, namespace, network.auth_secret_ref.name).get(TOKEN_KEY, b"")
        headers["Authorization"] = f"Bearer {token.decode().strip()}"
    trust: ssl.SSLContext | bool = True
    if network.tls_secret_ref is not None:
        trust = _trust(network.tls_secret_ref.name, secret_content(state, namespace, network.tls_secret_ref.name))
    return Target(status.url, name, artifact, manifest, headers, trust)


def _trust(name: str, secret: dict[str, bytes]) -> ssl.SSLContext:
    """Trust in the service's own certificate, or in its authority's, ca.crt; a local address has no name to check."""
    try:
        context = ssl.create_default_context(cadata=(secret.get("ca.crt") or secret["tls.crt"]).decode())
    except (KeyError, ValueError, ssl.SSLError) as error:
        raise BadInput(f"Secret {name!r}: tls.crt holds no certificate") from error
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _read(path: Path, manifest: Manifest) -> Tensors:
    """Inputs by name from .npz, or from JSON ``{"<input>": [...]}``. Raises BadInput."""
    try:
        names = {spec.name: DATATYPES.get(spec.datatype, "U") for spec in manifest.inputs}
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as found:
                given = {key: found[key] for key in found.files}
        else:
            given = json.loads(path.read_text())
            if not isinstance(given, dict):
                raise BadInput(f'{path}: write an object with one entry an input, {{"<input>": [...]}}')
        if set(given) != set(names):
            raise BadInput(f"{path}: has {', '.join(given) or 'nothing'}; the model's inputs are {', '.join(names)}")
        return {name: np.asarray(given[name], dtype=kind) for name, kind in names.items()}
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}") from error


def _evaluate(client: httpx.Client, target: Target, protocols: tuple[str, ...], samples: int) -> Table:
    try:
        with np.load(target.artifact.fetch(EVALUATION_FILE), allow_pickle=False) as found:
            data = {key: found[key][:samples] for key in found.files}
    except MissingError as error:
        raise BadInput(f"the artefact of {target.name!r} brings no evaluation set; give --input") from error
    except StorageError as error:
        raise BadInput(str(error)) from error
    labels = data.pop(LABELS)
    first = target.manifest.outputs[0].name
    table = Table(
        "PROTOCOL", "SAMPLES", "RIGHT", "SHARE", "MEDIAN, BATCH 1", box=None, pad_edge=False, header_style="bold"
    )
    for protocol in protocols:
        answers = [
            predict(client, target, protocol, {key: value[start : start + BATCH] for key, value in data.items()})[first]
            for start in range(0, len(labels), BATCH)
        ]
        right = int((np.concatenate(answers).argmax(axis=1) == labels).sum())
        one = {key: value[:1] for key, value in data.items()}
        seconds = [_timed(client, target, protocol, one) for _ in range(50)]
        table.add_row(
            protocol, str(len(labels)), str(right), f"{right / len(labels):.4f}", f"{1000 * np.median(seconds):.2f} ms"
        )
    return table


def _timed(client: httpx.Client, target: Target, protocol: str, inputs: Tensors) -> float:
    start = time.perf_counter()
    predict(client, target, protocol, inputs)
    return time.perf_counter() - start


def predict(client: httpx.Client, target: Target, protocol: str, inputs: Tensors) -> Tensors:
    """The model's outputs by name. Raises BadInput with the service's own words, httpx.TransportError."""
    match protocol:
        case "v1":
            url = f"{target.url}/v1/models/{target.name}:predict"
            return _v1(
                client.post(url, json={"inputs": {key: value.tolist() for key, value in inputs.items()}}), target
            )
        case "v2-binary":
            return _v2_binary(client, target, inputs)
        case _:
            url = f"{target.url}/v2/models/{target.name}/infer"
            tensors = [{**_head(target, key, value), "data": value.ravel().tolist()} for key, value in inputs.items()]
            answer = _checked(client.post(url, json={"inputs": tensors}))
            return {each["name"]: np.asarray(each["data"]).reshape(each["shape"]) for each in answer["outputs"]}


def _v1(response: httpx.Response, target: Target) -> Tensors:
    outputs = _checked(response)["outputs"]
    names = [spec.name for spec in target.manifest.outputs]
    return {names[0]: np.asarray(outputs)} if len(names) == 1 else {key: np.asarray(outputs[key]) for key in names}


def _v2_binary(client: httpx.Client, target: Target, inputs: Tensors) -> Tensors:
    """Raw tensors after a JSON header (Triton's extension_binary_data)."""
    raw = {
        key: np.ascontiguousarray(value, dtype=DATATYPES[_datatype(target, key)]).tobytes()
        for key, value in inputs.items()
    }
    tensors = [
        {**_head(target, key, value), "parameters": {"binary_data_size": len(raw[key])}}
        for key, value in inputs.items()
    ]
    header = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
    response = client.post(
        f"{target.url}/v2/models/{target.name}/infer",
        content=header + b"".join(raw.values()),
        headers={"Inference-Header-Content-Length": str(len(header)), "Content-Type": "application/octet-stream"},
    )
    if response.status_code != httpx.codes.OK:
        _checked(response)
    length = int(response.headers["Inference-Header-Content-Length"])
    outputs: Tensors = {}
    offset = length
    for each in json.loads(response.content[:length])["outputs"]:
        size = each["parameters"]["binary_data_size"]
        part = np.frombuffer(response.content[offset : offset + size], dtype=DATATYPES[each["datatype"]])
        outputs[each["name"]] = part.reshape(each["shape"])
        offset += size
    return outputs


def _head(target: Target, name: str, value: np.ndarray) -> dict[str, JsonValue]:
    return {"name": name, "shape": list(value.shape), "datatype": _datatype(target, name)}


def _datatype(target: Target, name: str) -> str:
    return next(spec.datatype for spec in target.manifest.inputs if spec.name == name)


def _checked(response: httpx.Response) -> dict[str, Any]:
    """The answer's JSON, as the protocol lays it out. Raises BadInput with what the service says is wrong."""
    body = response.json()
    if response.status_code != httpx.codes.OK:
        raise BadInput(f"the service answered {response.status_code}: {body.get('error', body)}")
    assert isinstance(body, dict)
    return body
