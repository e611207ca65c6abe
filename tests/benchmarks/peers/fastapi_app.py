"""A plain FastAPI application as its documentation has it: a pydantic body, a session, lists out."""

import os

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from pydantic import BaseModel

options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
app = FastAPI()


class Rows(BaseModel):
    x: list[list[float]]


@app.post("/predict")
async def predict(rows: Rows) -> dict[str, list[list[float]]]:
    y = session.run(["y"], {"x": np.array(rows.x, np.float32)})[0]
    return {"y": y.tolist()}
