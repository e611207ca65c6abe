"""PET_* variables, and what a pod says that cannot start."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.contract.artifact import Lineage
from modelyard.contract.reports import EXIT_FAILED, EXIT_FINAL, FINAL_REASONS, Termination
from modelyard.contract.runs import Place, RunIdentity, TrainRun
from modelyard_trainer import rendezvous
from modelyard_trainer.errors import RendezvousInvalidError, RendezvousTimeoutError

VARIABLES = {
    "PET_NNODES": "2",
    "PET_NPROC_PER_NODE": "4",
    "JOB_COMPLETION_INDEX": "1",
    "PET_RDZV_BACKEND": "c10d",
    "PET_RDZV_ENDPOINT": "bert-1-0.bert.default.svc:29400",
    "PET_RDZV_ID": "uid-1",
    "PET_RDZV_CONF": "join_timeout=1,read_timeout=60",
    "PET_LOCAL_ADDR": "bert-1-1.bert.default.svc",
}


def test_the_variables_describe_the_rendezvous() -> None:
    described = rendezvous.from_environment(VARIABLES)
    assert described == rendezvous.Rendezvous(
        nodes=2,
        min_nodes=2,
        procs_per_node=4,
        node_rank=1,
        backend="c10d",
        host="bert-1-0.bert.default.svc",
        port=29400,
        id="uid-1",
        config={"join_timeout": "1", "read_timeout": "60", "is_host": "0"},
        local_address="bert-1-1.bert.default.svc",
    )


def test_node_zero_hosts_the_rendezvous() -> None:
    assert rendezvous.from_environment(VARIABLES | {"PET_NODE_RANK": "0"}).config["is_host"] == "1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PET_NPROC_PER_NODE": "auto"}, "PET_NPROC_PER_NODE=auto is not a whole number"),
        ({"PET_RDZV_ENDPOINT": "bert"}, "PET_RDZV_ENDPOINT=bert is not <host>:<port>"),
        ({"PET_RDZV_ID": ""}, "PET_RDZV_ID is not set"),
    ],
)
def test_a_wrong_variable_is_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(RendezvousInvalidError, match=message):
        rendezvous.from_environment(VARIABLES | change)


def launched(root: Path, script: str, *, output: str | None = None, **variables: str) -> Termination:
    for part in ("config", "code", "work"):
        (root / part).mkdir()
    (root / "code" / "main.py").write_text("")
    run = TrainRun(
        identity=RunIdentity(namespace="default", name="toy", uid="uid-1"),
        script=script,
        output=None if output is None else Place(uri=output),
        lineage=Lineage(kind="TrainingJob", name="toy", namespace="default", spec_digest=f"sha256:{'1' * 64}"),
    )
    (root / "config" / "run.json").write_text(run.to_json())
    ended = subprocess.run(
        [sys.executable, "-m", "modelyard_trainer.launch"],
        env=os.environ | VARIABLES | variables | {"MODELYARD_ROOT": str(root)},
        check=False,
        timeout=60,
    )
    said = Termination.model_validate(json.loads((root / "termination-log").read_text()))
    assert ended.returncode == (EXIT_FINAL if said.reason in FINAL_REASONS else EXIT_FAILED)
    return said


def test_a_missing_script_is_refused_with_the_files_that_are_there(tmp_path: Path) -> None:
    end = launched(tmp_path, "train.py")
    assert (end.outcome, end.reason) == ("Failed", "ScriptNotFound")
    assert end.message == "spec.entrypoint.script: no train.py in the code; the files there are: main.py"


def test_an_output_that_is_not_mounted_is_known_before_the_training(tmp_path: Path) -> None:
    end = launched(tmp_path, "main.py", output="pvc://models/digits")
    assert (end.outcome, end.reason) == ("Failed", "ClaimNotMounted")


def test_a_host_that_never_listens_is_a_rendezvous_timeout() -> None:
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{nobody_listens.getsockname()[1]}"
        waiting = rendezvous.from_environment(
            VARIABLES | {"PET_RDZV_ENDPOINT": endpoint, "PET_RDZV_CONF": "join_timeout=0"}
        )
        refusal = f"node 1 did not reach the rendezvous at {endpoint} within 0 s: Connection refused"
        with pytest.raises(RendezvousTimeoutError, match=refusal):
            rendezvous.wait_for_host(waiting)
