"""The command of a training pod: start its ranks, publish what they saved, and write how it ended."""

import os
import sys
import traceback
from pathlib import Path

from modelyard.contract import forward, layout
from modelyard.contract.reports import (
    EXIT_FAILED,
    EXIT_FINAL,
    FINAL_REASONS,
    PublishedArtifact,
    Termination,
    TunedModel,
)
from modelyard.contract.runs import SOURCE_INPUT, Place, TrainRun, TuneRun
from modelyard.storage import uri
from modelyard.storage.errors import StorageError
from modelyard.storage.store import open_store
from modelyard_trainer import (
    checkout,
    endpoint,
    inputs,
    lifetime,
    publication,
    rendezvous,
    status,
    verdict,
    workspace,
)
from modelyard_trainer import fork_server as forks
from modelyard_trainer.console import say
from modelyard_trainer.errors import ScriptNotFoundError, TrainingError
from modelyard_trainer.rendezvous import Rendezvous
from modelyard_trainer.status import Update
from modelyard_trainer.workspace import Workspace

_FILES_NAMED = 20


def main() -> int:
    """Run one pod of an attempt and write its termination message. Returns the exit code, 0 for success."""
    lifetime.raise_on_death_signals()
    work = workspace.of_pod()
    try:
        termination, exit_code = _attempt(work), 0
    except lifetime.TerminatedError as end:
        termination, exit_code = _failed("Terminated", str(end)), end.exit_code
    except TrainingError as error:
        termination, exit_code = _failed(error.reason, str(error), error.rank, error.exit_code), _code(error.reason)
    except StorageError as error:
        termination, exit_code = _failed(error.reason, str(error)), _code(error.reason)
    except Exception as error:  # noqa: BLE001 - the edge: whatever went wrong, the pod says so
        traceback.print_exc()
        termination, exit_code = _failed("LaunchFailed", f"{type(error).__name__}: {error}"), 1
    lifetime.ignore_death_signals()
    progress = verdict.progress(work)
    if progress is not None:
        known = ("checkpoint", "step", "best", "in_place")
        termination = termination.model_copy(update={name: getattr(progress, name) for name in known})
    termination = termination.model_copy(update={"inputs": inputs.fetched(work)})
    termination.write()
    say(f"modelyard: {termination.outcome}, {termination.reason}: {termination.message}")
    return exit_code


def _attempt(work: Workspace) -> Termination:
    workspace.empty(work)
    run = TrainRun.model_validate_json(layout.run_file().read_bytes())
    meeting = rendezvous.from_environment(os.environ)
    code = layout.root() / layout.CODE if run.git is None else checkout.check_out(run.git, work)
    if (script := run.tune.script if run.tune is not None else run.script) is not None:
        _require(code, script)
    # What cannot be reached is worth knowing before the training. The client of an object store starts threads.
    _check(run, remote=False)
    _prepare(work, fork_server=run.fork_server)
    _check(run, remote=True)
    inputs.fetch(run.inputs, work)
    if run.tune is not None:
        inputs.fetch_artifact(SOURCE_INPUT, run.tune.source)
    operator = endpoint.operator(os.environ)
    objective = run.objective

    def take(update: Update) -> None:
        verdict.change(work, lambda before: status.taken(update, before, objective, verdict.now()))

    def newest() -> forward.Body | None:
        report = verdict.progress(work)
        return None if report is None else status.body(report)

    with forward.forwarded(operator, newest, say), endpoint.offered(work.temporary, take):
        return _train(run, meeting, code, work)


def _train(run: TrainRun, meeting: Rendezvous, code: Path, work: Workspace) -> Termination:
    from modelyard_trainer import agent, ranks, worker  # noqa: PLC0415 - torch takes seconds

    rendezvous.wait_for_host(meeting)
    variables = {name: os.environ.get(name) for name in endpoint.VARIABLES}
    script = worker.Script(code=code, script=run.script, module=run.module, args=run.args, variables=variables)
    limits = agent.Limits(
        process_restarts=run.process_restarts,
        fork_server=run.fork_server,
        grace_seconds=run.grace_seconds,
        stall_seconds=run.stall_timeout_seconds,
    )
    ended = ranks.run_ranks(script, meeting, limits, work)
    if 0 in ended and run.output is not None and run.tune is not None:
        return _publish_tuned(run, run.tune, run.output, work)
    if 0 in ended and run.output is not None:
        artifact = _publish(run, run.output, work)
        return Termination(
            outcome="Succeeded", reason="Completed", message=f"published {artifact.uri}", artifact=artifact
        )
    names = ", ".join(str(rank) for rank in sorted(ended))
    return Termination(outcome="Succeeded", reason="Completed", message=f"ranks {names} ended")


def _check(run: TrainRun, *, remote: bool) -> None:
    for place in (run.output, run.checkpoint):
        if place is not None and uri.parse(place.uri).in_object_store is remote:
            open_store(place.uri, place.secret).check()


def _require(code: Path, script: str) -> None:
    if (code / script).is_file():
        return
    found = sorted(str(path.relative_to(code)) for path in code.rglob("*") if path.is_file())
    visible = [name for name in found if not name.startswith(".")]
    names = ", ".join(visible[:_FILES_NAMED]) or "none"
    more = f" and {len(visible) - _FILES_NAMED} more" if len(visible) > _FILES_NAMED else ""
    raise ScriptNotFoundError(f"spec.entrypoint.script: no {script} in the code; the files there are: {names}{more}")


def _prepare(work: Workspace, *, fork_server: bool) -> None:
    os.environ.setdefault("TMPDIR", str(work.temporary))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch warns of each socket that another rank closed
    if fork_server:
        forks.start()


def _publish_tuned(run: TrainRun, tune: TuneRun, output: Place, work: Workspace) -> Termination:
    _announce_publishing(work)
    tuned = [
        TunedModel(
            name=each.name,
            digest=publication.publish(work.variant(each.name), tune.script, run.lineage, output).digest,
        )
        for each in tune.variants
    ]
    names = ", ".join(each.name for each in tuned)
    return Termination(outcome="Succeeded", reason="Completed", message=f"published {names}", tuned=tuned)


def _announce_publishing(work: Workspace) -> None:
    now = verdict.now()
    verdict.change(work, lambda report: report.model_copy(update={"stage": "Publishing", "time": now}))


def _publish(run: TrainRun, output: Place, work: Workspace) -> PublishedArtifact:
    _announce_publishing(work)
    return publication.publish(work, run.script or run.module or "", run.lineage, output)


def _code(reason: str) -> int:
    return EXIT_FINAL if reason in FINAL_REASONS else EXIT_FAILED


def _failed(reason: str, message: str, rank: int | None = None, exit_code: int | None = None) -> Termination:
    return Termination(outcome="Failed", reason=reason, message=message, rank=rank, exit_code=exit_code)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking down an interpreter that has torch in it takes most of a second, in which the next attempt waits.
    os._exit(code)
