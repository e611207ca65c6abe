"""The limit: ONNX Runtime in a loop without a server, and an echo of the same bodies without a model.

``python serving_bare.py MODEL.onnx WIDTH SECONDS`` prints rows a second by rows of a run, for one thread.
"""
# ruff: noqa: T201

import json
import sys
import time

import numpy as np
import onnxruntime as ort

ROWS = (1, 2, 4, 8, 16, 32, 64)


def rates(file: str, width: int, seconds: float) -> dict[int, float]:
    """Rows a second by rows of a run."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    found = {}
    for rows in ROWS:
        x = np.random.default_rng(0).random((rows, width), np.float32)
        session.run(["y"], {"x": x})
        count, begin = 0, time.perf_counter()
        while (spent := time.perf_counter() - begin) < seconds:
            session.run(["y"], {"x": x})
            count += rows
        found[rows] = round(count / spent, 1)
    return found


if __name__ == "__main__":
    print(json.dumps(rates(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
