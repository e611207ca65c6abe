"""Each line of the tables as one check that says what differs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx
import numpy as np
from tests.conformance import http_table
from tests.conformance.models import MODELS
from tests.conformance.table import CASES, DTYPES, Case, Tensor
from tests.conformance.transports import Grpc, Rest, Transport, has_error

TRANSPORTS = ("REST JSON", "REST binary", "gRPC contents", "gRPC raw")
HTTP = "HTTP"


@dataclass(frozen=True)
class Place:
    """Where one model is served."""

    url: str
    grpc: str | None = None
    """host:port, or None where gRPC is not spoken."""


@dataclass(frozen=True)
class Check:
    """One line of a table. ``run`` gives None, or what differs from what is expected."""

    name: str
    transport: str
    model: str
    run: Callable[[Place], str | None]


def checks() -> Iterator[Check]:
    """All of them."""
    for transport in TRANSPORTS:
        for name, case in CASES.items():
            if not case.raw_only or transport in ("REST binary", "gRPC raw"):
                yield Check(name, transport, case.model, _inference(transport, case))
        for model in MODELS:
            yield Check(f"metadata of {model}", transport, model, _metadata(transport, model))
    for path, expected in http_table.DOCUMENTS:
        yield Check(f"GET {path}", HTTP, "simple", _document(path, expected))
    for name, (model, body, outputs) in http_table.INFERENCES.items():
        yield Check(name, HTTP, model, _http_inference(model, body, outputs))
    for name, (status, method, path, body) in http_table.REFUSALS.items():
        model = next((model for model in MODELS if f"/{model}/" in f"{path}/"), "double")
        yield Check(name, HTTP, model, _refusal(status, method, path, body))


def transport_to(name: str, place: Place) -> Transport | None:
    """The transport of that name, or None where the place does not speak it."""
    raw = name in ("REST binary", "gRPC raw")
    if name.startswith("REST"):
        return Rest(place.url, raw=raw)
    return None if place.grpc is None else Grpc(place.grpc, raw=raw)


def _inference(transport: str, case: Case) -> Callable[[Place], str | None]:
    def run(place: Place) -> str | None:
        asked = transport_to(transport, place)
        if asked is None:
            return f"{transport} is not spoken"
        found = asked.infer(case)
        if isinstance(case.expected, str) or isinstance(found, str):
            return None if found == case.expected else f"expected {_told(case.expected)}, found {_told(found)}"
        names = [tensor.name for tensor in found]
        by_name = {tensor.name: tensor for tensor in found}
        if case.outputs and names != list(case.outputs):
            return f"expected outputs {list(case.outputs)}, found {names}"
        for expected in case.expected:
            if expected.name not in by_name or not _same(by_name[expected.name], expected):
                return f"output {expected.name}: expected {expected}, found {by_name.get(expected.name)}"
        return None if len(found) == len(case.expected) else f"found outputs {names}"

    return run


def _same(found: Tensor, expected: Tensor) -> bool:
    """Equal to the bit: a number is compared as its datatype has it, zero with its sign."""
    if (found.datatype, list(found.shape), len(found.data)) != (
        expected.datatype,
        list(expected.shape),
        len(expected.data),
    ):
        return False
    if found.datatype == "BYTES":
        return list(found.data) == list(expected.data)
    dtype = DTYPES[found.datatype]
    return np.array(found.data, dtype).tobytes() == np.array(expected.data, dtype).tobytes()


def _told(outcome: Sequence[Tensor] | str) -> str:
    return outcome if isinstance(outcome, str) else "outputs"


def _metadata(transport: str, model: str) -> Callable[[Place], str | None]:
    source = MODELS[model]
    expected = tuple(
        [(spec.name, spec.datatype, spec.shape) for spec in specs] for specs in (source.inputs, source.outputs)
    )

    def run(place: Place) -> str | None:
        asked = transport_to(transport, place)
        if asked is None:
            return f"{transport} is not spoken"
        if not asked.ready(model):
            return "not ready"
        found = asked.metadata(model)
        return None if tuple(map(sorted, found)) == tuple(map(sorted, expected)) else f"found {found}"

    return run


def _document(path: str, expected: Mapping[str, object]) -> Callable[[Place], str | None]:
    def run(place: Place) -> str | None:
        answer = httpx.get(place.url + path)
        try:
            document = answer.json()
        except ValueError:
            return f"found {answer.status_code} without JSON: {answer.text[:200]}"
        found = {key: document.get(key) for key in expected}
        return None if found == expected else f"expected {expected}, found {found}"

    return run


def _http_inference(
    model: str, body: http_table.Body, expected: Mapping[str, http_table.Output]
) -> Callable[[Place], str | None]:
    def run(place: Place) -> str | None:
        url = f"{place.url}/v2/models/{model}/infer"
        answer = httpx.post(url, content=body.content, headers=body.headers)
        if answer.status_code != 200:
            return f"found {answer.status_code} {answer.text[:200]}"
        found = http_table.outputs(answer)
        return None if found == expected else f"expected {expected}, found {found}"

    return run


def _refusal(status: int, method: str, path: str, body: http_table.Body) -> Callable[[Place], str | None]:
    def run(place: Place) -> str | None:
        answer = httpx.request(method, place.url + path, content=body.content, headers=body.headers)
        holds = answer.status_code == status and has_error(answer)
        return None if holds else f"expected {status} with error, found {answer.status_code} {answer.text[:200]}"

    return run


def outcome(check: Check, place: Place) -> str | None:
    """None where the check holds, else what differs, also when the client failed on what came."""
    try:
        return check.run(place)
    except Exception as error:  # noqa: BLE001 - whatever a server does, the next check follows
        return f"{type(error).__name__}: {error}"
