"""A model of 1.6 GB goes through a whole run, in the memory that was estimated for it."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelyard.contract import layout
from modelyard.contract.reports import Termination
from modelyard.storage.artifacts import open_artifact
from modelyard_compressor import model_files
from modelyard_compressor.sessions import Model
from whole_runs import AUTO, source_artifact, write_run

WIDTH = 20_000


def wide() -> onnx.ModelProto:
    """Pixels to a layer of ``WIDTH`` by ``WIDTH`` weights to ten classes."""
    random = np.random.default_rng(0)
    weights = {}
    for name, (width, height) in {"a": (64, WIDTH), "b": (WIDTH, WIDTH), "c": (WIDTH, 10)}.items():
        values = random.standard_normal((width, height), np.float32)
        values *= np.float32((2 / width) ** 0.5)
        weights[name] = numpy_helper.from_array(values, name)
    nodes = [
        helper.make_node("Flatten", ["image"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "a"], ["m1"]),
        helper.make_node("Relu", ["m1"], ["r1"]),
        helper.make_node("MatMul", ["r1", "b"], ["m2"]),
        helper.make_node("Relu", ["m2"], ["r2"]),
        helper.make_node("MatMul", ["r2", "c"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", 1, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 10])
    graph = helper.make_graph(nodes, "wide", [image], [logits], list(weights.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_a_model_of_more_than_a_gigabyte(tmp_path: Path) -> None:
    images = np.random.default_rng(1).standard_normal((64, 1, 8, 8), np.float32)
    net = wide()
    assert model_files.weight_bytes(net) > model_files.EXTERNAL_ABOVE
    onnx.save(net, tmp_path / "net.onnx")
    session = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    labels = session.run(["logits"], {"image": images})[0].argmax(axis=1)
    del session
    (tmp_path / layout.CONFIG).mkdir()
    source = source_artifact(tmp_path, net, {"eval": {"image": images, "labels": labels}})
    del net
    write_run(tmp_path, source, quantize=AUTO.model_copy(update={"mode": ["Dynamic"]}))

    command = [sys.executable, "-m", "modelyard_compressor"]
    done = subprocess.run(command, env=os.environ | {layout.ROOT_VARIABLE: str(tmp_path)}, check=False)

    termination = Termination.model_validate_json((tmp_path / layout.TERMINATION_LOG).read_bytes())
    assert done.returncode == 0, termination.message
    assert termination.artifact is not None
    folder, manifest = open_artifact(termination.artifact)
    assert sum(file.size_bytes for file in manifest.files if file.path.startswith("model")) < 0.3 * 4 * WIDTH**2
    answers = Model(folder / "model.onnx", 1).predict({"image": images})
    assert (answers.argmax(axis=1) == labels).mean() > 0.9
    assert termination.memory is not None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    assert peak < termination.memory.estimate_bytes
    assert peak == pytest.approx(termination.memory.estimate_bytes, rel=0.6)
