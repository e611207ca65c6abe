"""Open Inference Protocol v2: an ``infer`` body to tensors, and results to a body.

Sources: kserve/open-inference-protocol specification/protocol/inference_rest.md, and for binary data
triton-inference-server/server docs/protocol/extension_binary_data.md.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from modelyard_server import json_text, tensor_json, v2_binary
from modelyard_server.errors import RequestError, shown
from modelyard_server.tensors import Signature, Tensor
from modelyard_server.v2_plan import InferPlan, Input, WantedOutput, plan_of

JSON_SIZE_HEADER = "Inference-Header-Content-Length"
_REMEMBERED = 256
_REMEMBERED_BYTES = 4096


class InferRequest(NamedTuple):
    """What one ``infer`` request asks for. The inputs are complete and fit the signature."""

    inputs: Mapping[str, Tensor]
    outputs: tuple[WantedOutput, ...]
    names: tuple[str, ...]
    """Of the outputs."""
    id: str | None
    seconds: float = math.inf
    """How long the client waits."""


class InferAnswer(NamedTuple):
    """The body of an answer in parts; binary data follows the first ``json_size`` bytes unless that is None."""

    parts: tuple[bytes | memoryview, ...]
    json_size: int | None


def json_size(value: bytes | None) -> int | None:
    """The value of the header Inference-Header-Content-Length in bytes, None without it. Raises RequestError."""
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        raise RequestError(f"header {JSON_SIZE_HEADER}: {shown(value)} is not a number of bytes")
    return int(value)


class Codec:
    """Bodies of requests for one model, and of their answers.

    Clients send the same JSON head with each request of binary data, so that what heads say is remembered.
    """

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._plans: dict[bytes, InferPlan] = {}
        self._heads: dict[tuple[object, ...], bytes] = {}
        self._all_raw = tuple(WantedOutput(output, binary=True) for output in signature.outputs)

    def decode(self, body: bytes | memoryview, json_size: int | None) -> InferRequest:
        """The request in ``body``, whose first ``json_size`` bytes are JSON (None: all of it, 0: one raw tensor).

        Tensors of binary data are views of ``body``. Raises RequestError.
        """
        if json_size == 0:
            return self._decode_raw(body)
        if json_size is None:
            plan = plan_of(json_text.parse_object(body), None, self._signature)
            tensors = {each.spec.name: _from_json(each) for each in plan.inputs}
        else:
            plan = self._plan(body, json_size)
            view = memoryview(body)
            tensors = {}
            for each in plan.inputs:
                start = json_size + each.start
                tensors[each.spec.name] = (
                    v2_binary.decode(view[start : start + each.size], each.spec, each.shape)
                    if each.size is not None
                    else _from_json(each)
                )
        return InferRequest(tensors, plan.outputs, plan.names, plan.id, plan.seconds)

    def encode(self, request: InferRequest, results: Sequence[Tensor]) -> InferAnswer:
        """The answer that holds ``results``, one for each wanted output; binary data is not copied.

        Raises RequestError for FP16 as JSON.
        """
        wanted = request.outputs
        if request.id is None and all(output.raw for output in wanted):
            key = (wanted, *[result.shape for result in results])
            head = self._heads.get(key)
            if head is None:
                head = self._remember_head(key, request, results)
            return InferAnswer((head, *[v2_binary.view(result) for result in results]), len(head))
        raw = [v2_binary.encode(tensor) for output, tensor in zip(wanted, results, strict=True) if output.binary]
        head = self._head(request, results, [len(data) for data in raw])
        return InferAnswer((head, *raw), len(head) if raw else None)

    def _plan(self, body: bytes | memoryview, size: int) -> InferPlan:
        if size > len(body):
            raise RequestError(f"header {JSON_SIZE_HEADER}: {size} bytes, the body has only {len(body)}")
        head = bytes(body[:size])
        plan = self._plans.get(head)
        if plan is None:
            plan = plan_of(json_text.parse_object(head), len(body) - size, self._signature)
            if plan.constant and size <= _REMEMBERED_BYTES:
                if len(self._plans) >= _REMEMBERED:
                    self._plans.clear()
                self._plans[head] = plan
        plan.check_rest(len(body) - size)
        return plan

    def _decode_raw(self, body: bytes | memoryview) -> InferRequest:
        inputs = self._signature.inputs
        if len(inputs) != 1:
            raise RequestError(f"header {JSON_SIZE_HEADER}: 0 needs a model with one input, not {len(inputs)}")
        tensors = {inputs[0].name: v2_binary.decode_body(body, inputs[0])}
        return InferRequest(tensors, self._all_raw, tuple(output.spec.name for output in self._all_raw), None)

    def _remember_head(self, key: tuple[object, ...], request: InferRequest, results: Sequence[Tensor]) -> bytes:
        head = self._head(request, results, [result.nbytes for result in results])
        if len(self._heads) >= _REMEMBERED:
            self._heads.clear()
        self._heads[key] = head
        return head

    def _head(self, request: InferRequest, results: Sequence[Tensor], sizes: Sequence[int]) -> bytes:
        outputs: list[dict[str, object]] = []
        sizes_left = iter(sizes)
        for wanted, tensor in zip(request.outputs, results, strict=True):
            output: dict[str, object] = {
                "name": wanted.spec.name,
                "datatype": wanted.spec.datatype,
                "shape": tensor.shape,
            }
            if wanted.binary:
                output["parameters"] = {"binary_data_size": next(sizes_left)}
            else:
                output["data"] = orjson.Fragment(tensor_json.encode(tensor.reshape(-1), wanted.spec))
            outputs.append(output)
        document: dict[str, object] = {"model_name": self._signature.model, "model_version": self._signature.version}
        if request.id is not None:
            document["id"] = request.id
        return orjson.dumps({**document, "outputs": outputs})


def _from_json(entry: Input) -> Tensor:
    return tensor_json.shaped(tensor_json.decode(entry.data, entry.spec), entry.spec, entry.shape)
