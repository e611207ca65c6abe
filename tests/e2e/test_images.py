"""The four images, run as Modelyard's pods run them."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from onnx import TensorProto, helper

import build
from engines import Engine, ImagesError, engine
from modelyard.contract.artifact import MODEL_FILE, Lineage, TensorSpec
from modelyard.contract.digest import digest_of_bytes
from modelyard.contract.layout import RUN_FILE
from modelyard.contract.runs import ArtifactPlace, RunIdentity, ServeRun, TrainRun
from modelyard.storage import artifacts
from sandboxes import Sandbox, sandbox

MEGABYTES = {"operator": 300, "trainer": 6500, "compressor": 550, "server": 400}
MODULES = {
    "operator": "modelyard.app",
    "trainer": "modelyard_trainer.launch",
    "compressor": "modelyard_compressor",
    "server": "modelyard_server",
}
SAID = {"operator": "error: ", "compressor": "RunFileRefused", "server": "RunFileInvalid"}
LINEAGE = Lineage(kind="TrainingJob", name="double", namespace="test", spec_digest=digest_of_bytes(b""))
TOOLS = """
import importlib.util, shutil
programs = ["pip", "pip3", "uv", "gcc", "cc", "g++", "make", "cmake", "ld"]
modules = ["pip", "uv", "ensurepip", "hatchling"]
print([name for name in programs if shutil.which(name)] + [name for name in modules if importlib.util.find_spec(name)])
"""
# Python says with -v where a module's code came from: byte code in quotes, a source that it compiled without them.
COMPILED_NOW = "# code object from /"
ONLY_FOR_NEWER_PYTHON = "py312_intrinsics"
NOT_COMPILED = """
import pathlib
from importlib.util import cache_from_source
print([str(path) for path in pathlib.Path("/opt/modelyard").rglob("*.py")
       if not pathlib.Path(cache_from_source(path)).exists() and not path.match("bin/*")])
"""
WRITABLE = """
import os
print(os.getuid(), os.getgid(), [folder for folder, _, _ in os.walk("/")
      if os.access(folder, os.W_OK) and not folder.startswith(("/proc", "/dev", "/sys"))])
"""
ASK_THE_SERVER = """
import subprocess, sys, time, urllib.request
server = subprocess.Popen([sys.executable, "-m", "modelyard_server"])
url, deadline = "http://127.0.0.1:8080/v2", time.monotonic() + 60
def ready():
    try:
        return urllib.request.urlopen(url + "/health/ready").status == 200
    except OSError:
        return False
while not ready():
    assert server.poll() is None and time.monotonic() < deadline
    time.sleep(0.02)
body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
print(urllib.request.urlopen(url + "/models/double/infer", body).read().decode())
server.terminate()
print("ended with", server.wait(60))
"""
ALL_REDUCE = """
import modelyard_trainer, torch
from torch import distributed
with modelyard_trainer.run() as run:
    total = torch.ones(1)
    distributed.all_reduce(total)
    print(f"rank {run.rank} sees {int(total)} ranks", flush=True)
"""
RENDEZVOUS = {
    "PET_NNODES": "1",
    "PET_NPROC_PER_NODE": "2",
    "PET_NODE_RANK": "0",
    "PET_RDZV_BACKEND": "c10d",
    "PET_RDZV_ENDPOINT": "127.0.0.1:29400",
    "PET_RDZV_ID": "test-1",
    "PET_LOCAL_ADDR": "127.0.0.1",
    "OMP_NUM_THREADS": "1",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


@pytest.fixture(scope="module")
def builder() -> Engine:
    """Docker or buildah; skips where there is neither, except in CI."""
    try:
        return engine()
    except ImagesError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def sandboxes(builder: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Sandbox]]:
    """A sandbox for an image's name; the image is built first if something in it has changed."""
    made: dict[str, Sandbox] = {}
    with ExitStack() as stack:

        def of(name: str) -> Sandbox:
            if name not in made:
                image = build.build([name])[name]
                made[name] = stack.enter_context(sandbox(builder, image, tmp_path_factory.mktemp(name)))
            return made[name]

        yield of


@pytest.fixture(params=build.NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Each image in turn."""
    return str(request.param)


@pytest.fixture
def image(name: str, sandboxes: Callable[[str], Sandbox]) -> Sandbox:
    return sandboxes(name)


def printed(image: Sandbox, script: str) -> str:
    ended = image.run(["python", "-c", script])
    assert ended.code == 0, ended.output
    return ended.output.strip()


def test_it_is_no_larger_than_promised(name: str, image: Sandbox, builder: Engine) -> None:
    size_bytes = builder.size(image.image)
    assert size_bytes is not None
    assert size_bytes <= MEGABYTES[name] * 10**6


def test_nothing_that_installs_or_compiles_is_in_it(image: Sandbox) -> None:
    assert printed(image, TOOLS) == "[]"


def test_every_module_is_compiled(image: Sandbox) -> None:
    missing = [path for path in eval(printed(image, NOT_COMPILED)) if ONLY_FOR_NEWER_PYTHON not in path]
    assert missing == []


def test_its_start_compiles_nothing(name: str, image: Sandbox) -> None:
    ended = image.run(["python", "-v", "-c", f"import {MODULES[name]}"])
    assert [line for line in ended.output.splitlines() if line.startswith(COMPILED_NOW)] == []
    assert ended.code == 0


def test_it_runs_as_a_user_who_can_write_nothing_but_scratch(image: Sandbox) -> None:
    assert image.config["User"] == "65532:65532"
    assert printed(image, WRITABLE) == "65532 65532 ['/tmp', '/modelyard/work']"


def test_it_says_what_it_is(name: str, image: Sandbox) -> None:
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.title"] == f"modelyard-{name}"
    assert labels["org.opencontainers.image.version"] != "0"


@pytest.mark.parametrize("name", SAID)
def test_its_own_command_says_in_a_line_what_is_wrong(
    name: str, sandboxes: Callable[[str], Sandbox], tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / RUN_FILE).write_text("{}")
    ended = sandboxes(name).run(mounts={tmp_path: "/modelyard/config"})
    assert ended.code != 0
    assert "Traceback" not in ended.output
    assert SAID[name] in ended.output


@pytest.mark.parametrize("name", ["operator", "compressor", "server"])
def test_only_the_trainer_has_torch(name: str, sandboxes: Callable[[str], Sandbox]) -> None:
    find = "import importlib.util; print(importlib.util.find_spec('torch'), importlib.util.find_spec('triton'))"
    assert printed(sandboxes(name), find) == "None None"


def test_the_server_serves(sandboxes: Callable[[str], Sandbox], tmp_path: Path) -> None:
    ended = sandboxes("server").run(["python", "-c", ASK_THE_SERVER], served_model(tmp_path))
    assert '"data":[2.0,4.0]' in ended.output.replace(" ", "")
    assert "ended with 0" in ended.output


def test_two_ranks_of_the_trainer_meet(sandboxes: Callable[[str], Sandbox], tmp_path: Path) -> None:
    code, config = tmp_path / "code", tmp_path / "config"
    for folder in (code, config):
        folder.mkdir()
    (code / "ranks.py").write_text(ALL_REDUCE)
    identity = RunIdentity(namespace="test", name="ranks", uid="uid")
    (config / RUN_FILE).write_text(TrainRun(identity=identity, script="ranks.py", lineage=LINEAGE).to_json())
    settings = [f"{name}={value}" for name, value in RENDEZVOUS.items()]
    launcher = ["env", *settings, "python", "-m", MODULES["trainer"]]
    ended = sandboxes("trainer").run(launcher, {code: "/modelyard/code", config: "/modelyard/config"})
    assert all(f"rank {rank} sees 2 ranks" in ended.output for rank in (0, 1)), ended.output
    assert ended.code == 0, ended.output


def test_the_trainer_has_what_the_example_imports(sandboxes: Callable[[str], Sandbox]) -> None:
    load = "from sklearn.datasets import load_digits; print(load_digits().data.shape)"
    assert printed(sandboxes("trainer"), load) == "(1797, 64)"


def served_model(folder: Path) -> Mapping[Path, str]:
    """The mounts of a pod that serves a model which doubles its input."""
    spec = {name: TensorSpec(name=name, datatype="FP32", shape=[-1, 2]) for name in "xy"}
    inputs, outputs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2])] for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", inputs, outputs)
    made, store, config = (folder / name for name in ("made", "store", "config"))
    for each in (made, store, config):
        each.mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (made / MODEL_FILE).write_bytes(model.SerializeToString())
    manifest = artifacts.manifest_of(made, [spec["x"]], [spec["y"]], {}, {}, LINEAGE)
    artifact = artifacts.publish(made, manifest, f"file://{store}")
    uri = f"file:///modelyard/volumes/models/{artifact.uri.rpartition('/')[2]}"
    run = ServeRun(name="double", artifact=ArtifactPlace(uri=uri, digest=artifact.digest))
    (config / RUN_FILE).write_text(run.to_json())
    return {store: "/modelyard/volumes/models", config: "/modelyard/config"}
