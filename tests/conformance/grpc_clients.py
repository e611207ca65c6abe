"""What tests ask over gRPC with gRPC's own clients."""

from collections.abc import Sequence
from typing import Any

import grpc
import httpx
import numpy as np
from tests.conformance.servers import Server

from modelyard.contract import layout
from modelyard_server import open_inference_pb2 as messages

INFER = "/inference.GRPCInferenceService/ModelInfer"
READY = "/inference.GRPCInferenceService/ServerReady"
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def address(server: Server) -> str:
    return f"{server.host}:{layout.GRPC_PORT}"


def channel_to(target: str, options: Sequence[tuple[str, str | int]] = ()) -> Any:
    return grpc.insecure_channel(target, options)


def request(rows: int = 1, name: str = "double") -> messages.ModelInferRequest:
    x = np.arange(rows * 4, dtype="<f4")
    found = messages.ModelInferRequest(model_name=name, raw_input_contents=[x.tobytes()])
    found.inputs.add(name="x", datatype="FP32", shape=[rows, 4])
    return found


def infer_on(channel: Any) -> Any:
    return channel.unary_unary(
        INFER,
        request_serializer=messages.ModelInferRequest.SerializeToString,
        response_deserializer=messages.ModelInferResponse.FromString,
    )


def doubled(answer: messages.ModelInferResponse, rows: int = 1) -> bool:
    return answer.raw_output_contents[0] == (2 * np.arange(rows * 4, dtype="<f4")).tobytes()


def metric(server: Server, line: str) -> float:
    """The value of a line of /metrics; 0 where there is none."""
    for each in httpx.get(f"{server.url}/metrics").text.splitlines():
        if each.startswith(line + " "):
            return float(each.rsplit(" ", 1)[1])
    return 0.0
