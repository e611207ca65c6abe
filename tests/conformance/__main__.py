"""``python -m tests.conformance URL``: the Open Inference Protocol's tables against any server; prints what differs.

The server must hold the models of ``models.py``, which ``--models DIRECTORY`` writes as MODEL/1/model.onnx. A server of
one model is named with it: ``simple=http://localhost:8080``. gRPC is asked where ``--grpc`` or ``@host:port`` says so.
"""
# ruff: noqa: T201

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from tests.conformance.checks import Check, Place, checks, outcome
from tests.conformance.models import MODELS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("url", nargs="*", help="URL, or MODEL=URL, or MODEL=URL@GRPC-ADDRESS")
    parser.add_argument("--grpc", help="host:port of gRPC, for all models")
    parser.add_argument("--models", type=Path, help="write the models there, and end unless a URL is given")
    parser.add_argument("--json", type=Path, help="write the results there too")
    arguments = parser.parse_args()
    if arguments.models:
        write_models(arguments.models)
    if not arguments.url:
        return 0 if arguments.models else parser.error("a URL is needed")
    places = places_of(arguments.url, arguments.grpc)
    results = []
    for check in checks():
        place = places.get(check.model, next(iter(places.values())))
        skipped = check.transport.startswith("gRPC") and place.grpc is None
        differs = None if skipped else outcome(check, place)
        results.append((check, "skipped" if skipped else "differs" if differs else "holds", differs))
        if differs:
            print(f"{check.transport:13}  {check.name:40}  {differs[:200]}")
    table(results)
    if arguments.json:
        documents = [
            {"transport": check.transport, "name": check.name, "result": result, "differs": differs}
            for check, result, differs in results
        ]
        arguments.json.write_text(json.dumps(documents, indent=1))
    return int(any(result == "differs" for _, result, _ in results))


def places_of(urls: list[str], grpc: str | None) -> dict[str, Place]:
    """Where each model is."""
    places: dict[str, Place] = {}
    for text in urls:
        model, separator, rest = text.partition("=")
        url, _, address = (rest if separator else text).partition("@")
        place = Place(url.rstrip("/"), address or grpc)
        places |= {model: place} if separator else dict.fromkeys(MODELS, place)
    return places


def table(results: list[tuple[Check, str, str | None]]) -> None:
    """How many checks of each transport hold."""
    counts = Counter((check.transport, result) for check, result, _ in results)
    print(f"\n{'transport':13}  {'holds':>6} {'differs':>8} {'skipped':>8}")
    for transport in dict.fromkeys(check.transport for check, _, _ in results):
        holds, differs, skipped = (counts[transport, result] for result in ("holds", "differs", "skipped"))
        print(f"{transport:13}  {holds:6} {differs:8} {skipped:8}")


def write_models(directory: Path) -> None:
    """As Triton's model repositories lie."""
    for name, source in MODELS.items():
        folder = directory / name / "1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(source.onnx())


if __name__ == "__main__":
    sys.exit(main())
