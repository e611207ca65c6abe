"""Other tools' defaults, each in its own environment: this file is also the script that runs there.

``PEER FOLDER TARGET`` quantizes ``FOLDER/model.onnx`` with ``FOLDER/calibration.npz``. It imports nothing of ours.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLES = 256
_COMMON = ("onnx==1.23.2", "onnxruntime==1.32.0", "sympy==1.14.0")


@dataclass(frozen=True)
class Peer:
    """One tool, and what its environment holds. None: the environment of these tests."""

    name: str
    packages: tuple[str, ...] | None
    quantize: Callable[[Path, Path], None]


def environment(peer: Peer) -> Path:
    """The Python of the peer's environment, made where it is not there, outside the repository.

    Peers whose names begin alike share one.
    """
    if peer.packages is None:
        return Path(sys.executable)
    home = (
        Path(os.environ.get("MODELYARD_PEERS", Path.home() / ".cache" / "modelyard-peers"))
        / peer.name.partition("-")[0]
    )
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        uv = Path(__file__).parents[2] / "build" / "tools" / "bin" / "uv"
        subprocess.run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, home], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", home, *peer.packages], check=True)
        (home / "complete").touch()
    return python


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    import numpy as np  # noqa: PLC0415

    with np.load(folder / "calibration.npz") as file:
        array = file["x"][:SAMPLES]
    for index in range(len(array)):
        yield {"x": array[index : index + 1]}


def _dynamic(folder: Path, target: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic  # noqa: PLC0415

    quantize_dynamic(folder / "model.onnx", target)


def _static(folder: Path, target: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static  # noqa: PLC0415
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows = _rows(folder)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._rows, None)

    prepared = target.with_suffix(".prepared")
    quant_pre_process(folder / "model.onnx", prepared)
    quantize_static(prepared, target, Reader())
    prepared.unlink()


def _nncf(folder: Path, target: Path) -> None:
    _by_nncf(folder, target)


def _nncf_accurate(folder: Path, target: Path) -> None:
    """As its documentation says for accuracy: slow bias correction, and SmoothQuant where there is attention."""
    import nncf  # type: ignore[import-not-found]  # noqa: PLC0415

    attention = folder.name in ("transformer", "encoder")
    kind = {"model_type": nncf.ModelType.TRANSFORMER} if attention else {}
    _by_nncf(folder, target, fast_bias_correction=False, **kind)


def _by_nncf(folder: Path, target: Path, **options: Any) -> None:
    import nncf  # noqa: PLC0415
    import onnx  # noqa: PLC0415

    quantized = nncf.quantize(onnx.load(folder / "model.onnx"), nncf.Dataset(list(_rows(folder))), **options)
    onnx.save(quantized, target)


def _olive(folder: Path, target: Path) -> None:
    import tempfile  # noqa: PLC0415

    import onnx  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from olive.data.registry import Registry  # type: ignore[import-not-found]  # noqa: PLC0415
    from olive.workflows import run  # type: ignore[import-not-found]  # noqa: PLC0415

    rows = [{"x": torch.from_numpy(row["x"][0])} for row in _rows(folder)]

    class Rows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], int]:
            return rows[index], 0

    @Registry.register_dataset("bench")  # type: ignore[untyped-decorator]
    def _bench(**_: Any) -> Rows:
        return Rows()

    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as cache:
        run(
            {
                "input_model": {"type": "ONNXModel", "model_path": str(folder / "model.onnx")},
                "data_configs": [
                    {
                        "name": "bench",
                        "type": "DataContainer",
                        "load_dataset_config": {"type": "bench"},
                        "pre_process_data_config": {"type": "skip_pre_process"},
                        "post_process_data_config": {"type": "skip_post_process"},
                        "dataloader_config": {"batch_size": 1},
                    }
                ],
                "passes": {"quantize": {"type": "OnnxStaticQuantization", "data_config": "bench"}},
                "output_dir": out,
                "cache_dir": cache,
                "log_severity_level": 3,
            }
        )
        (model,) = sorted(Path(out).rglob("*.onnx"))[:1]
        onnx.save(onnx.load(model), target)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("ort-dynamic", None, _dynamic),
        Peer("ort-static", None, _static),
        Peer("nncf", ("nncf==3.4.0", *_COMMON), _nncf),
        Peer("nncf-accurate", ("nncf==3.4.0", *_COMMON), _nncf_accurate),
        Peer("olive", ("olive-ai==0.13.0", "requests==2.34.2", *_COMMON), _olive),
    )
}

if __name__ == "__main__":
    PEERS[sys.argv[1]].quantize(Path(sys.argv[2]), Path(sys.argv[3]))
