"""An MLServer runtime for any ONNX model, with MLServer's codecs and no checks of its own."""

import numpy as np
import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse, ResponseOutput


class OnnxModel(MLModel):
    async def load(self):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(self.settings.parameters.uri, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload):
        feeds = {each.name: decoded(each) for each in payload.inputs}
        wanted = [each.name for each in payload.outputs or ()] or [each.name for each in self.session.get_outputs()]
        results = self.session.run(wanted, feeds)
        outputs = [encoded(name, result) for name, result in zip(wanted, results, strict=True)]
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=outputs)


def decoded(given):
    if given.datatype == "BYTES":
        return np.array(StringCodec.decode_input(given), object).reshape(given.shape)
    return NumpyCodec.decode_input(given)


def encoded(name, result):
    if result.dtype.kind != "O":
        return NumpyCodec.encode_output(name, result)
    texts = StringCodec.encode_output(name, result.reshape(-1).tolist())
    return ResponseOutput(name=name, datatype="BYTES", shape=list(result.shape), data=texts.data)
