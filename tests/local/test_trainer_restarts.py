"""Restarts of the ranks in place: what they keep, and when there are none."""

import signal

from pods import Attempts, kill, of_reason, toy, wait_until

KILLED_ONCE = "run.rank == 3 and step == 5 and not state and (time.sleep(0.3), os.kill(os.getpid(), 9))"


def test_a_killed_rank_costs_a_restart_in_place_from_the_last_checkpoint(attempts: Attempts) -> None:
    pods = attempts.start(toy(KILLED_ONCE), process_restarts=2)
    ends = [pod.termination() for pod in pods]
    assert [end.outcome for end in ends] == ["Succeeded", "Succeeded"]
    (main,) = [end for end in ends if end.in_place is not None]
    assert main.in_place is not None
    assert (main.in_place.count, main.in_place.rank, main.in_place.reason) == (1, 3, "ProcessError")
    assert main.in_place.message.startswith("rank 3 was killed by SIGKILL")
    assert main.step == 12
    (report,) = [pod.progress for pod in pods if pod.progress is not None]
    assert (report.world_size, report.resumed_step) == (4, 5)
    assert report.in_place == main.in_place


def test_an_error_that_repeats_without_a_newer_checkpoint_ends_the_attempt(attempts: Attempts) -> None:
    pods = attempts.start(
        toy("if step == 4 and run.rank == 2: raise ValueError('bad label')"), process_restarts=9, checkpoint=None
    )
    _, end = of_reason(pods, "ProcessError")
    assert end.message.startswith("rank 2: ValueError: bad label")
    (report,) = [pod.progress for pod in pods if pod.progress is not None]
    assert report.in_place is not None
    assert (report.in_place.count, report.in_place.rank) == (1, 2)


def test_an_error_that_only_an_edit_mends_is_not_tried_again(attempts: Attempts) -> None:
    pods = attempts.start(toy("Toy.forward = lambda self, x: self.linear(x) if x.sum() > 0 else x"), process_restarts=3)
    _, end = of_reason(pods, "ExportFailed")
    assert end.in_place is None


def test_without_the_fork_server_each_rank_is_a_process_of_its_own(attempts: Attempts) -> None:
    (pod,) = attempts.start(toy("step == 1 and print('started by', os.getppid())"), nodes=1, fork_server=False)
    assert pod.termination().outcome == "Succeeded"
    assert pod.log.count(f"started by {pod.process.pid}") == 2


def test_sigterm_to_one_pod_has_all_ranks_save_the_same_step_and_end(attempts: Attempts) -> None:
    pods = attempts.start(toy("time.sleep(0.05)", steps=2000))
    wait_until(lambda: all("step 5 of pid" in pod.log for pod in pods), "all train")
    pods[1].process.send_signal(signal.SIGTERM)
    ends = [pod.termination() for pod in pods]
    assert [(end.outcome, end.reason) for end in ends] == [("Failed", "Terminated")] * 2
    (main,) = [end for end in ends if end.step is not None]
    assert main.checkpoint is not None
    assert main.checkpoint.step == main.step
    log = "".join(pod.log for pod in pods)
    # ``checkpoint`` ends the script, so each rank prints the step before last.
    assert (log.count(f"step {main.checkpoint.step - 1} of pid"), log.count(f"step {main.step} of pid")) == (4, 0)


def test_a_hanging_rank_is_named(attempts: Attempts) -> None:
    pods = attempts.start(toy("step == 4 and run.rank == 2 and time.sleep(600)"), stall_timeout_seconds=3)
    ends = [pod.termination() for pod in pods]
    assert [(end.reason, end.rank) for end in ends] == [("Stalled", 2)] * 2
    assert "rank 2 holds up the others: no report for 3 s, it is at train.py:3 in at_step" in ends[0].message
    log = "".join(pod.log for pod in pods)
    assert all(f"stacks of rank {rank}" in log for rank in range(4))


def test_an_elastic_job_goes_on_without_a_lost_node_and_takes_a_new_one(attempts: Attempts) -> None:
    script = toy("time.sleep(0.1); print('world', run.world_size)", steps=100_000, saves=False)
    first, second = attempts.start(script, nnodes="1:2", process_restarts=0, output=None)
    wait_until(lambda: "world 4" in first.log and "world 4" in second.log, "both train")
    kill(second)
    wait_until(lambda: "world 2" in first.log, "the other goes on alone")
    third = attempts.add(1)
    wait_until(lambda: "world 4" in third.log, "a new one is taken in")
    report = first.progress
    assert report is not None
    assert (report.world_size, report.in_place) == (4, None)
    assert report.resumed_step is not None
    assert report.resumed_step > 0
