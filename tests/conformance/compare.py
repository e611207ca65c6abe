"""``python -m tests.conformance.compare``: the suite against our server, MLServer and KServe's SDK; what each answers.

Writes docs/conformance.md. The peers run on the loopback interface, each in an environment of its own that is made
below ``--environments``. Each holds the models of ``models.py`` in ONNX Runtime, with no checks beside the SDK's.
"""
# ruff: noqa: T201

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import httpx
from tests.conformance.__main__ import write_models
from tests.conformance.checks import HTTP, TRANSPORTS, Check, Place, checks, outcome
from tests.conformance.models import MODELS
from tests.conformance.servers import DEADLINE_SECONDS, publish_model, start_server

from modelyard.contract import layout

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
PAGE = ROOT / "docs" / "conformance.md"
LOCAL, HTTP_PORT, GRPC_PORT = "127.78.0.1", 18080, 18081
SHOWN = 120
"""Characters of what differs."""
HOLDS = "✓"
Places = Mapping[str, Place]


@dataclass(frozen=True)
class Contender:
    """A server of the protocol, and what to say of it."""

    name: str
    version: str
    running: Callable[[Path], AbstractContextManager[Places]]
    """Runs it with all models, in an empty folder."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.compare", description=__doc__)
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache/modelyard-peers")
    environments = parser.parse_args().environments
    pythons = {package: python_of(package, environments) for package in ("mlserver", "kserve")}
    contenders = [
        Contender("Modelyard", metadata.version("modelyard"), ours),
        Contender("MLServer", version_in(pythons["mlserver"], "mlserver"), peer(pythons["mlserver"], mlserver)),
        Contender("KServe SDK", version_in(pythons["kserve"], "kserve"), peer(pythons["kserve"], kserve)),
    ]
    answers: dict[str, list[str | None]] = {}
    asked = list(checks())
    for contender in contenders:
        with tempfile.TemporaryDirectory() as folder, contender.running(Path(folder)) as places:
            found = [outcome(check, places.get(check.model, places["double"])) for check in asked]
        answers[contender.name] = found
        print(f"{contender.name} {contender.version}: {found.count(None)} of {len(found)} hold", flush=True)
    PAGE.write_text(page(contenders, asked, answers))
    print(f"written to {PAGE.relative_to(ROOT)}")
    return 0


def python_of(package: str, environments: Path) -> Path:
    """The interpreter of an environment with the package and ONNX Runtime; makes it if it is not there."""
    place = environments / package
    if not (place / "complete").exists():
        uv = ROOT / "build" / "tools" / "bin" / "uv"
        subprocess.run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, place], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", place, package, "onnxruntime"], check=True)
        (place / "complete").touch()
    return place / "bin" / "python"


def version_in(python: Path, package: str) -> str:
    """The package's version in the environment of ``python``."""
    script = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", script], check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def ours(folder: Path) -> Iterator[Places]:
    """A server of ours for each model."""
    servers = {}
    try:
        for number, name in enumerate(MODELS, 2):
            for part in ("artefact", "pod"):
                (folder / name / part).mkdir(parents=True)
            run = publish_model(name, folder / name / "artefact")
            servers[name] = start_server(run, folder / name / "pod", f"127.78.0.{number}", {})
        for server in servers.values():
            server.wait_until_ready()
        yield {name: Place(server.url, f"{server.host}:{layout.GRPC_PORT}") for name, server in servers.items()}
    finally:
        for server in servers.values():
            server.process.kill()
            server.process.communicate()


def mlserver(folder: Path, files: Mapping[str, Path]) -> list[str]:
    """The words of MLServer's command, below Python."""
    settings = {"parallel_workers": 0, "host": LOCAL, "http_port": HTTP_PORT, "grpc_port": GRPC_PORT, "debug": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    for name, file in files.items():
        (folder / name).mkdir()
        document: dict[str, object] = {
            "name": name,
            "implementation": "any_model_by_mlserver.OnnxModel",
            "parameters": {"uri": str(file)},
        }
        # With a datatype in its settings that it does not know, a model does not load.
        described = {} if name == "brain" else signature(name)
        (folder / name / "model-settings.json").write_text(json.dumps(document | described))
    return ["-c", "from mlserver.cli import main; main()", "start", str(folder)]


def kserve(folder: Path, files: Mapping[str, Path]) -> list[str]:
    """The words of KServe's command, below Python."""
    signatures = {name: signature(name) | {"path": str(file)} for name, file in files.items()}
    (folder / "signatures.json").write_text(json.dumps(signatures))
    ports = ["--http_port", str(HTTP_PORT), "--grpc_port", str(GRPC_PORT)]
    return [str(PEERS / "any_model_by_kserve.py"), str(folder / "signatures.json"), *ports]


def signature(name: str) -> dict[str, object]:
    """Inputs and outputs of a model, as the protocol's metadata has them."""
    source = MODELS[name]
    return {
        side: [{"name": spec.name, "datatype": spec.datatype, "shape": spec.shape} for spec in specs]
        for side, specs in (("inputs", source.inputs), ("outputs", source.outputs))
    }


def peer(
    python: Path, words: Callable[[Path, Mapping[str, Path]], list[str]]
) -> Callable[[Path], AbstractContextManager[Places]]:
    """Runs a server that holds all models itself."""

    @contextlib.contextmanager
    def running(folder: Path) -> Iterator[Places]:
        write_models(folder / "models")
        files = {name: folder / "models" / name / "1" / "model.onnx" for name in MODELS}
        (folder / "server").mkdir()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [python, *words(folder / "server", files)],
                env=os.environ | {"PYTHONPATH": str(PEERS)},
                cwd=folder,
                stdout=log,
                stderr=log,
            )
            try:
                host = LOCAL if words is mlserver else "127.0.0.1"  # KServe listens on all addresses
                wait_until_ready(process, f"http://{host}:{HTTP_PORT}", folder / "log")
                yield dict.fromkeys(MODELS, Place(f"http://{host}:{HTTP_PORT}", f"{host}:{GRPC_PORT}"))
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    return running


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return when a model is ready; raises RuntimeError when the server exits, or the deadline passes."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if all(httpx.get(f"{url}/v2/models/{name}/ready").status_code == 200 for name in MODELS):
                return
        time.sleep(0.1)
    raise RuntimeError(f"{url} was not ready\n{log.read_text()[-4000:]}")


def page(contenders: Sequence[Contender], asked: Sequence[Check], answers: Mapping[str, Sequence[str | None]]) -> str:
    """The page of docs/."""
    versions = ", ".join(f"{each.name} {each.version}" for each in contenders)
    names = [each.name for each in contenders]
    lines = [
        "# What servers of the Open Inference Protocol answer",
        "",
        "Written by `python -m tests.conformance.compare`, which asks each server every line of the conformance suite.",
        f"Versions: {versions}, each with ONNX Runtime.",
        "",
        "MLServer and KServe's SDK leave the model to its author. Theirs here, in `tests/conformance/peers`, hands the",
        "inputs that the SDK decodes to ONNX Runtime and the results to the SDK, and checks nothing itself.",
        "What is expected is our reading of the specification and of Triton's extensions, in",
        "`tests/conformance/table.py` and `http_table.py`. The specification does not say with which status a server",
        "refuses, and a server need not have the extension for binary tensors. `bad` is 400 or INVALID_ARGUMENT,",
        '`unknown` 404 or NOT_FOUND, over HTTP with `{"error": "…"}` and nothing else.',
        "",
        f"| Lines that hold | {' | '.join(names)} | of |",
        f"|---|{'---|' * (len(names) + 1)}",
    ]
    for transport in (*TRANSPORTS, HTTP):
        numbers = [number for number, check in enumerate(asked) if check.transport == transport]
        holds = [str(Counter(answers[name][number] for number in numbers)[None]) for name in names]
        lines.append(f"| {transport} | {' | '.join(holds)} | {len(numbers)} |")
    lines += ["", f"Below is every line on which one of them differs: {HOLDS} is what is expected."]
    for transport in (*TRANSPORTS, HTTP):
        lines += ["", f"## {transport}", "", f"| Line | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
        for number, check in enumerate(asked):
            found = [answers[name][number] for name in names]
            if check.transport == transport and any(each is not None for each in found):
                lines.append(f"| {check.name} | {' | '.join(map(told, found))} |")
    return "\n".join(lines) + "\n"


def told(differs: str | None) -> str:
    """What differs, for a cell: on one line, short, and without what differs from run to run."""
    if differs is None:
        return HOLDS
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|0x[0-9a-f]+", "…", " ".join(differs.split()))
    text = text.replace(str(ROOT), "").replace("`", "'").replace("|", "\\|")
    text = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return f"`{text}`"


if __name__ == "__main__":
    sys.exit(main())
