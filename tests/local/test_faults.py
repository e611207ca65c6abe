"""Kills and interruptions while the digits example trains."""

import os
import signal
import subprocess

from laptops import Laptop, example

SIGINT_EXIT = 130


def training_only(laptop: Laptop) -> str:
    """The example without what follows the training, and without a wait before a restart."""
    objects = [each for each in example() if each["kind"] in ("PersistentVolumeClaim", "ConfigMap", "TrainingJob")]
    for each in objects:
        if each["kind"] == "TrainingJob":
            each["spec"]["restart"] = {"backoffSeconds": 0, "processRestarts": 0}
    return laptop.file(*objects)


def started_to_the_first_checkpoint(laptop: Laptop, file: str) -> subprocess.Popen[str]:
    """A run that has trained for at least an epoch."""
    run = laptop.start("run", file)
    laptop.until(lambda: laptop.status("tjob/digits").get("checkpoint") is not None or run.poll() is not None)
    assert run.poll() is None, run.communicate()
    return run


def test_a_killed_rank_costs_one_restart_from_the_last_checkpoint(laptop: Laptop) -> None:
    run = started_to_the_first_checkpoint(laptop, training_only(laptop))
    os.kill(laptop.rank(2), signal.SIGKILL)
    result = laptop.finish(run)
    assert result.code == 0, result.out + result.err
    status = laptop.status("tjob/digits")
    last = status["restarts"]["last"]
    assert (status["attempt"], status["restarts"]["counted"], last["rank"]) == (2, 1, 2)
    assert "SIGKILL" in last["message"]
    assert last["checkpointStep"] > 0
    assert float(status["artifact"]["metrics"]["accuracy"]) >= 0.97


def test_ctrl_c_leaves_no_process_and_the_next_run_goes_on(laptop: Laptop) -> None:
    file = training_only(laptop)
    run = started_to_the_first_checkpoint(laptop, file)
    run.send_signal(signal.SIGINT)
    assert laptop.finish(run).code == SIGINT_EXIT
    assert laptop.processes() == {}
    step = laptop.status("tjob/digits")["checkpoint"]["step"]
    result = laptop("run", file)
    assert result.code == 0, result.out + result.err
    restarts = laptop.status("tjob/digits")["restarts"]
    assert (restarts["counted"], restarts["uncounted"], restarts["last"]["reason"]) == (0, 1, "Preempted")
    assert restarts["last"]["checkpointStep"] >= step


def test_a_killed_command_is_followed_by_one_that_finds_its_pods_again(laptop: Laptop) -> None:
    file = training_only(laptop)
    run = started_to_the_first_checkpoint(laptop, file)
    run.kill()
    laptop.finish(run)
    assert laptop.processes() != {}
    result = laptop("run", file)
    assert result.code == 0, result.out + result.err
    assert laptop.status("tjob/digits")["attempt"] == 1


def test_a_second_command_on_the_same_folder_is_refused(laptop: Laptop) -> None:
    file = training_only(laptop)
    run = started_to_the_first_checkpoint(laptop, file)
    result = laptop("run", file)
    assert result.code == 2
    assert f"process {run.pid} already runs" in result.err
