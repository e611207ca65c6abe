"""The node of a process cluster: starts pods, watches them, stops them."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from modelyard.api.conditions import timestamp
from modelyard.api.metadata import ObjectKey
from modelyard.api.pods import Pod, PodStatus, Terminated
from modelyard.clusters.process import podstatus, shim
from modelyard.clusters.process.addresses import AddressBook
from modelyard.clusters.process.machine import Machine, unfit
from modelyard.clusters.process.names import environment
from modelyard.clusters.process.probes import Prober
from modelyard.clusters.process.sandbox import Exit, NotMountable, Sandbox
from modelyard.clusters.process.store import ObjectStore
from modelyard.contract import layout
from modelyard.contract.reports import ProgressReport

MAX_RESTART_DELAY = 30.0
SHIM_START_SECONDS = 10.0
"""A shim that has written nothing by then never started."""
DEFAULT_GRACE_SECONDS = 30
_NOT_INHERITED = (
    "PET_", "MODELYARD_", "TORCHELASTIC_", "RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "MASTER_", "OMP_",
    "PYTHONDONTWRITEBYTECODE",  # makes every start compile torch again
)  # fmt: skip
"""Variables of this process that pods do not see, by the beginnings of their names."""


class Node:
    """Runs the pods of the store as processes. ``tick`` is called again and again, from one event loop."""

    def __init__(self, state: Path, store: ObjectStore, machine: Machine, own_images: frozenset[str]) -> None:
        """``own_images`` stand for the packages installed here; any other image is said not to be used."""
        self._state = state
        self._store = store
        self._machine = machine
        self._own_images = own_images
        self._addresses = AddressBook(state, store)
        self._prober = Prober()
        self._progress_seen: dict[str, int] = {}
        self._restart_at: dict[str, float] = {}
        self._launched_at: dict[str, float] = {}
        self._stopping: set[str] = set()
        self._shims: list[subprocess.Popen[bytes]] = []
        """Those that this process has started. Their files, not these, say how they end: they may outlive it."""
        self._signals: dict[tuple[str, int], int] = {}
        self.progress: dict[ObjectKey, ProgressReport] = {}
        """The newest report of each pod."""

    async def close(self) -> None:
        """Stop watching; pods go on."""
        for process in self._shims:
            process.returncode = process.poll() or 0  # else Popen warns of those that go on
        await self._prober.close()

    def sandbox(self, pod: Pod) -> Sandbox:
        """The pod's folder."""
        return Sandbox(self._state, pod)

    def tick(self) -> None:
        """Bring every pod one step further."""
        self._shims = [shim_process for shim_process in self._shims if shim_process.poll() is None]  # reaps the others
        for pod in list(self._store.every(Pod)):
            if pod.status.phase == "Pending":
                self._start(pod)
            elif not pod.finished:
                self._watch(pod)

    def stop(self, pod: Pod) -> None:
        """Tell the pod to end; its grace period runs from the first time."""
        if pod.status.phase == "Pending":
            self._write(pod, podstatus.never_started(pod))
        elif podstatus.crash_looping(pod):
            self._ended(pod, Exit(137, timestamp(datetime.now(UTC))), for_good=True)
        elif not pod.finished:
            self._stopping.add(pod.metadata.uid)
            self._signal(pod, 1)

    def kill(self, pod: Pod) -> None:
        """End the grace period of a pod that was told to end; call it until the pod has ended."""
        self._stopping.add(pod.metadata.uid)
        self._signal(pod, 2)

    def disrupt(self, pod: Pod) -> None:
        """Stop the pod because the node goes down, so that no Job counts it as a failure."""
        self._write(pod, podstatus.disrupted(pod))
        fresh = self._store.typed(pod.key, Pod)
        if fresh is not None:
            self.stop(fresh)

    def remove(self, pod: Pod) -> None:
        """Forget a finished pod and remove its folder."""
        self._prober.forget(pod)
        self.progress.pop(pod.key, None)
        self.sandbox(pod).remove()
        self._store.delete(pod.key)

    def _signal(self, pod: Pod, times: int) -> None:
        """See that the shim has had so many SIGTERMs: the first is passed on to the container, the second kills it.

        A shim that has only just been started gets it later: this is called again.
        """
        run = (pod.metadata.uid, podstatus.run_number(pod))
        pid = self.sandbox(pod).shim_pid(run[1])
        if pid is not None and self._signals.get(run, 0) < times:
            self._signals[run] = self._signals.get(run, 0) + 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _start(self, pod: Pod) -> None:
        blocked = unfit(pod.spec, self._machine)
        if blocked is not None:
            self._write(pod, podstatus.unschedulable(blocked))
            return
        try:
            if not self.sandbox(pod).started(pod, run=0):
                pod = self._write(pod, pod.status.model_copy(update={"pod_ip": self._addresses.assign(pod)}))
                self.sandbox(pod).build(pod, self._store)
                self._launch(pod, run=0)
        except (NotMountable, LookupError, OSError) as error:
            self._write(pod, podstatus.waiting(pod, str(error)))
            return
        image = pod.spec.containers[0].image
        note = "" if image in self._own_images else f"runs as a process of this machine; image {image} is not used"
        self._write(pod, podstatus.started(pod, note, datetime.now(UTC)))

    def _launch(self, pod: Pod, run: int) -> None:
        """Start the shim of the container's run. Raises LookupError while a name has no address, OSError."""
        container = pod.spec.containers[0]
        sandbox = self.sandbox(pod)
        env = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        env |= environment(pod, container.env, self._addresses.pod_address, self._addresses.service_address)
        env |= {
            layout.ROOT_VARIABLE: str(sandbox.root.resolve()),
            layout.HOST_VARIABLE: pod.status.pod_ip or "127.0.0.1",
            "TMPDIR": str(sandbox.temporary),
            "GLOO_SOCKET_IFNAME": "lo",
            "HOSTNAME": pod.spec.hostname or pod.metadata.name,
        }
        argv = [sys.executable if part == "python" else part for part in container.command] + container.args
        grace = pod.spec.termination_grace_period_seconds
        spec = sandbox.write_shim_spec(run, argv, env, DEFAULT_GRACE_SECONDS if grace is None else grace)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", shim.__file__, str(spec)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._shims.append(process)
        self._launched_at[pod.metadata.uid] = asyncio.get_running_loop().time()

    def _watch(self, pod: Pod) -> None:
        if podstatus.crash_looping(pod):
            self._restart_when_due(pod)
            return
        sandbox = self.sandbox(pod)
        run = podstatus.run_number(pod)
        self._read_progress(pod, sandbox)
        ended = sandbox.exit(run)
        if ended is None and sandbox.shim_pid(run) is None and not self._may_still_start(pod):
            ended = sandbox.exit(run) or Exit(137, timestamp(datetime.now(UTC)))
        if ended is not None:
            self._ended(pod, ended, for_good=pod.spec.restart_policy == "Never" or pod.metadata.uid in self._stopping)
        elif pod.ready != (ready := self._prober.ready(pod)):
            self._write(pod, podstatus.with_readiness(pod, ready=ready))

    def _may_still_start(self, pod: Pod) -> bool:
        launched = self._launched_at.get(pod.metadata.uid)
        return launched is not None and asyncio.get_running_loop().time() - launched < SHIM_START_SECONDS

    def _ended(self, pod: Pod, ended: Exit, *, for_good: bool) -> None:
        self._prober.forget(pod)
        self._launched_at.pop(pod.metadata.uid, None)
        how = Terminated(
            exit_code=ended.code,
            reason="Completed" if ended.code == 0 else "Error",
            message=self.sandbox(pod).termination_message(),
            finished_at=ended.finished_at,
        )
        if for_good:
            self.sandbox(pod).remove_temporary()
            self._write(pod, podstatus.finished(pod, how))
            return
        delay = min(MAX_RESTART_DELAY, 2.0 ** min(podstatus.run_number(pod), 10))
        self._restart_at[pod.metadata.uid] = asyncio.get_running_loop().time() + delay
        self._write(pod, podstatus.crashed(pod, how, delay))

    def _restart_when_due(self, pod: Pod) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._restart_at.setdefault(pod.metadata.uid, now):
            return
        try:
            if not self.sandbox(pod).started(pod, podstatus.run_number(pod) + 1):
                self._launch(pod, podstatus.run_number(pod) + 1)
        except (LookupError, OSError):
            self._restart_at[pod.metadata.uid] = now + 1.0
            return
        self._write(pod, podstatus.restarted(pod, datetime.now(UTC)))

    def _read_progress(self, pod: Pod, sandbox: Sandbox) -> None:
        changed = sandbox.progress_changed_at()
        if changed in (0, self._progress_seen.get(pod.metadata.uid)):
            return
        self._progress_seen[pod.metadata.uid] = changed
        report = sandbox.progress()
        body = self._store.get(pod.key)
        if report is not None and body is not None:
            self.progress[pod.key] = report
            self._store.listener(body)

    def _write(self, pod: Pod, status: PodStatus) -> Pod:
        """Store the pod with a new status, and return it as stored."""
        current = self._store.typed(pod.key, Pod) or pod
        changed = current.model_copy(update={"status": status})
        self._store.put(pod.key, changed.model_dump(mode="json", exclude_none=True))
        return self._store.typed(pod.key, Pod) or changed
