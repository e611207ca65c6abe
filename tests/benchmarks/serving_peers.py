"""Who is measured: our server over its transports, and the peers, each in an environment of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from modelyard.contract import layout
from modelyard_server.open_inference_pb2 import ModelInferRequest
from serving_models import BenchModel

PEERS = Path(__file__).parent / "peers"
ROOT = Path(__file__).parents[2]
OURS = "127.77.0.1"
LOCAL = "127.0.0.1"
BYTE_CODE = {"BYTE_CODE": "1"}
"""Marks the contender that is not compiled."""
GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True)
class Contender:
    """A server and one way to ask it. ``start`` are the words of its command, below ``python`` of its environment."""

    name: str
    packages: Sequence[str]
    """What its environment holds; nothing: the environment that runs this."""
    start: Sequence[str]
    host: str
    port: int
    path: str
    form: str
    """Of the body: binary, json, plain, grpc or raw."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Contenders of one key are asked of the same process."""
        return " ".join((*self.packages, *self.start, *self.environment))


def contenders(model: BenchModel) -> list[Contender]:
    """All of them, ours first."""
    v2 = f"/v2/models/{model.name}/infer"
    ort = ["onnxruntime", "numpy"]
    ours = ["-m", "modelyard_server"]
    uvicorn = ["-m", "uvicorn", "--host", LOCAL, "--port", "18080", "--no-access-log", "--log-level", "error"]
    fast = ["fastapi", "uvicorn[standard]", *ort]
    litserve = str(PEERS / "litserve_app.py")
    bentoml = ["-m", "bentoml", "serve", "bentoml_app:Model", "--host", LOCAL, "--port", "18080"]
    mlserver = ["mlserver", "onnxruntime"]
    kserve = [str(PEERS / "kserve_app.py"), "--http_port", "18080", "--grpc_port", "18081"]
    return [
        Contender("ours, REST binary", [], ours, OURS, layout.SERVER_PORT, v2, "binary"),
        Contender("ours, REST JSON", [], ours, OURS, layout.SERVER_PORT, v2, "json"),
        Contender("ours, gRPC", [], ours, OURS, layout.GRPC_PORT, GRPC_PATH, "grpc"),
        Contender("ours as byte code, REST binary", [], ours, OURS, layout.SERVER_PORT, v2, "binary", BYTE_CODE),
        Contender("uvicorn echo", fast, [*uvicorn, "echo_app:app"], LOCAL, 18080, "/", "binary"),
        Contender("FastAPI, JSON", fast, [*uvicorn, "fastapi_app:app"], LOCAL, 18080, "/predict", "plain"),
        Contender("LitServe, JSON", ["litserve", *ort], [litserve], LOCAL, 8080, "/predict", "row", {"HOST": LOCAL}),
        Contender("BentoML, JSON", ["bentoml", *ort], bentoml, LOCAL, 18080, "/predict", "plain"),
        Contender("MLServer, REST JSON", mlserver, ["-m", "mlserver.cli.main"], LOCAL, 18080, v2, "json"),
        Contender("MLServer, gRPC", mlserver, ["-m", "mlserver.cli.main"], LOCAL, 18081, GRPC_PATH, "grpc"),
        Contender("KServe, REST JSON", ["kserve", *ort], kserve, LOCAL, 18080, v2, "json"),
        Contender("KServe, REST binary", ["kserve", *ort], kserve, LOCAL, 18080, v2, "binary"),
        Contender("KServe, gRPC", ["kserve", *ort], kserve, LOCAL, 18081, GRPC_PATH, "grpc"),
    ]


def body(form: str, model: BenchModel, rows: int) -> tuple[bytes, tuple[str, ...]]:
    """A request's body and header lines."""
    x = np.random.default_rng(0).random((rows, model.width), np.float32)
    shape = list(x.shape)
    match form:
        case "binary":
            entry = {"name": "x", "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": x.nbytes}}
            head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
            headers = ("Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {len(head)}")
            return head + x.tobytes(), headers
        case "json":
            entry = {"name": "x", "datatype": "FP32", "shape": shape, "data": x.reshape(-1).tolist()}
            return json.dumps({"inputs": [entry]}).encode(), ("Content-Type: application/json",)
        case "plain" | "row":
            return json.dumps({"x": x.tolist()}).encode(), ("Content-Type: application/json",)
        case "grpc":
            request = ModelInferRequest(model_name=model.name, raw_input_contents=[x.tobytes()])
            request.inputs.add(name="x", datatype="FP32", shape=shape)
            return request.SerializeToString(), ()
        case _:
            raise AssertionError(form)


@cache
def compiled() -> Path:
    """Our server as its image has it: what every request passes through, as machine code."""
    folder = ROOT / "build/benchmarks/server"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "images/server/modelyard_server", folder / "modelyard_server")
    subprocess.run([sys.executable, ROOT / "images/server/compile_code.py", folder], check=True)
    return folder


def python_of(contender: Contender, environments: Path) -> Path:
    """The interpreter that has its packages; makes what it needs if it is not there."""
    if not contender.packages:
        compiled()
        return Path(sys.executable)
    place = environments / contender.packages[0]
    python = place / "bin" / "python"
    if not (place / "complete").exists():
        uv = ROOT / "build" / "tools" / "bin" / "uv"
        subprocess.run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, place], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", place, *contender.packages], check=True)
        (place / "complete").touch()
    return python


def started(contender: Contender, model: BenchModel, folder: Path, python: Path, core: int) -> subprocess.Popen[bytes]:
    """The server's process, on one core. ``folder`` is its own."""
    file = folder / "model.onnx"
    file.write_bytes(model.data)
    environment = os.environ | contender.environment
    environment |= {"MODEL": str(file), "NAME": model.name, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PEERS)}
    environment["BENTOML_HOME"] = str(folder / "bentoml")
    arguments = list(contender.start)
    if not contender.packages:
        (folder / layout.CONFIG).mkdir()
        run = model.publish(folder / "published").model_copy(update={"cpus": 1})
        (folder / layout.CONFIG / layout.RUN_FILE).write_text(run.to_json())
        environment |= {layout.ROOT_VARIABLE: str(folder), layout.HOST_VARIABLE: contender.host}
        environment["PYTHONPATH"] = "" if contender.environment == BYTE_CODE else str(compiled())
    if contender.packages[:1] == ["mlserver"]:
        settings = {"parallel_workers": 0, "host": LOCAL, "http_port": 18080, "grpc_port": 18081, "debug": False}
        (folder / "settings.json").write_text(json.dumps(settings))
        implementation = {"name": model.name, "implementation": "mlserver_app.OnnxModel", "max_batch_size": 32}
        implementation |= {"max_batch_time": 0.001, "parameters": {"uri": str(file)}}
        (folder / "model-settings.json").write_text(json.dumps(implementation))
        arguments = ["-c", "from mlserver.cli import main; main()", "start", str(folder)]
    log = (folder / "log").open("wb")
    return subprocess.Popen(
        ["taskset", "-c", str(core), python, *arguments],
        env=environment,
        cwd=PEERS if contender.packages else folder,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
