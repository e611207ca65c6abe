"""KServe predictors for any ONNX models, with KServe's codecs and no checks of its own.

``python any_model_by_kserve.py SIGNATURES ...``: a JSON file, of the path, inputs and outputs of each model by its
name; then the arguments of KServe.
"""

import json
import sys
from pathlib import Path

import kserve
import numpy as np
import onnxruntime as ort
from kserve import InferOutput, InferResponse
from kserve.utils.utils import generate_uuid


class OnnxModel(kserve.Model):
    def __init__(self, name, signature):
        super().__init__(name)
        self.signature = signature

    def load(self):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(self.signature["path"], options, providers=["CPUExecutionProvider"])
        self.ready = True
        return True

    async def get_input_types(self):
        return self.signature["inputs"]

    async def get_output_types(self):
        return self.signature["outputs"]

    def session_outputs(self):
        return [each.name for each in self.session.get_outputs()]

    async def predict(self, payload, headers=None, response_headers=None):
        feeds = {each.name: decoded(each) for each in payload.inputs}
        results = dict(zip(self.session_outputs(), self.session.run(None, feeds), strict=True))
        asked = [each.name for each in payload.request_outputs or () if each.name in results]
        outputs = []
        for name in asked or results:
            datatype = next(each["datatype"] for each in self.signature["outputs"] if each["name"] == name)
            outputs.append(InferOutput(name, list(results[name].shape), datatype))
            outputs[-1].set_data_from_numpy(results[name])
        return InferResponse(
            response_id=payload.id or generate_uuid(),
            model_name=self.name,
            infer_outputs=outputs,
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


def decoded(given):
    found = given.as_numpy()
    if given.datatype != "BYTES":
        return found
    texts = [each.decode() if isinstance(each, bytes) else each for each in found.reshape(-1)]
    return np.array(texts, object).reshape(found.shape)


if __name__ == "__main__":
    signatures = json.loads(Path(sys.argv.pop(1)).read_text())
    models = [OnnxModel(name, signature) for name, signature in signatures.items()]
    for each in models:
        each.load()
    kserve.ModelServer(workers=1).start(models)
