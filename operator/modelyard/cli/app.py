"""The commands and their options."""

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
import yaml

from modelyard.api.metadata import KubeObject
from modelyard.cli import asking, deletion, generate, logs, reports, running
from modelyard.cli.errors import BadInput
from modelyard.cli.files import KINDS_BY_NAME, key_of, kind_of, read, state_folder
from modelyard.cli.tables import object_table
from modelyard.clusters.process.store import ObjectStore
from modelyard.engine.admission import check
from modelyard.kinds import KINDS

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, compress and serve models: one file, on this machine as processes or on Kubernetes.",
)

State = Annotated[
    Path | None, typer.Option("--state", help="Folder of the local cluster [env MODELYARD_STATE, default .modelyard]")
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the objects")]
File = Annotated[Path, typer.Argument(help="A YAML file with one or more objects")]


@app.command()
def run(
    file: File,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave services running in the background")] = False,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Local port of the service")] = None,
    state: State = None,
) -> None:
    """Run the objects of FILE on this machine until jobs are complete and services ready."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    raise typer.Exit(asyncio.run(running.run(file, state_folder(state), keep=keep, port=port)))


@app.command()
def get(
    what: Annotated[str | None, typer.Argument(help="A kind, or kind/name; all kinds by default")] = None,
    *,
    output: Annotated[Literal["table", "wide", "yaml", "json"], typer.Option("--output", "-o")] = "table",
    namespace: Namespace = "default",
    state: State = None,
) -> None:
    """Show objects and their state."""
    store = ObjectStore(state_folder(state) / "objects")
    console = running.report_console(width=400)
    word, _, name = (what or "").partition("/")
    kinds = [kind_of(word)] if word else list(KINDS)
    keys = [key for kind in kinds for key in store.keys(kind.name) if key.namespace == namespace]
    if name:
        keys = [key for key in keys if key.name == name]
        if not keys:
            raise BadInput(f"{what} not found; `modelyard get` lists what is there")
    bodies = {key: body for key in keys if (body := store.get(key)) is not None}
    if output in ("yaml", "json"):
        documents = list(bodies.values())
        if output == "json":
            console.print_json(data=documents[0] if name else documents)
        else:
            typer.echo(yaml.safe_dump_all(documents, sort_keys=False), nl=False)
        return
    for kind in kinds:
        found = [body for key, body in bodies.items() if key.kind == kind.name]
        if found:
            console.print(object_table(kind, found, datetime.now(UTC), wide=output == "wide"))
    if not bodies:
        console.print("nothing here; `modelyard run FILE` starts something")


@app.command(name="logs")
def show_logs(
    what: Annotated[str, typer.Argument(help="kind/name")],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the pods have ended")] = False,
    namespace: Namespace = "default",
    state: State = None,
) -> None:
    """Print the logs of an object's pods."""
    logs.show(state_folder(state), key_of(what, namespace), follow=follow)


@app.command()
def predict(
    name: Annotated[str, typer.Argument(help="The ModelService")],
    *,
    input_file: Annotated[Path | None, typer.Option("--input", "-i", help="A .json or .npz file of inputs")] = None,
    protocol: Annotated[Literal["v2", "v2-binary", "v1", "all"], typer.Option(help="How to ask")] = "v2",
    samples: Annotated[int, typer.Option(min=1, help="Evaluation samples to ask about without --input")] = 16,
    namespace: Namespace = "default",
    state: State = None,
) -> None:
    """Ask a service; without --input, about the samples that its model was evaluated on."""
    asking.ask(state_folder(state), name, namespace, input_file, protocol, samples)


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="The CompressionJob")],
    *,
    path: Annotated[bool, typer.Option("--path", help="Print where the page lies, and open nothing")] = False,
    namespace: Namespace = "default",
    state: State = None,
) -> None:
    """Open the report of a compression in a browser."""
    page = reports.page_of(state_folder(state), name, namespace)
    typer.echo(page if path else reports.open_page(page))


@app.command()
def delete(
    what: Annotated[list[str], typer.Argument(help="kind/name, or a YAML file")],
    *,
    namespace: Namespace = "default",
    state: State = None,
) -> None:
    """Delete objects and all that they own. Published artefacts stay."""
    asyncio.run(deletion.delete(state_folder(state), what, namespace))


@app.command()
def stop(*, state: State = None) -> None:
    """Stop everything that runs in the background; objects and artefacts stay."""
    asyncio.run(deletion.stop(state_folder(state)))


@app.command()
def validate(file: File) -> None:
    """Check FILE as an API server would, and that it is complete."""
    bodies = read(file)
    problems = check(bodies, KINDS_BY_NAME, lambda _: None)
    if problems:
        raise BadInput(*(str(problem) for problem in problems))
    for body in bodies:
        thing = KubeObject.model_validate(body)
        typer.echo(f"{thing.kind.lower()}/{thing.metadata.name} is valid")


@app.command(hidden=True)
def supervise(*, state: State = None, ready_fd: Annotated[int, typer.Option("--ready-fd")]) -> None:
    """Keep the local cluster going in the background, until another command takes over."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(running.supervise(state_folder(state), ready_fd))


@app.command(name="generate", hidden=True)
def generate_files(
    *,
    root: Annotated[Path, typer.Option(help="The repository")] = Path(),
    check_only: Annotated[bool, typer.Option("--check", help="Write nothing; fail where files differ")] = False,
) -> None:
    """Write the CRDs and the reference from the models."""
    raise typer.Exit(generate.write(root, check_only=check_only))
