"""The parent of one container's processes: runs them, stops them, and writes down how they ended.

Started as a file by the node, with the standard library alone, so that it outlives the node and starts in
milliseconds. SIGTERM is passed on, and the container killed when its grace is over, or at the next SIGTERM.
Usage: ``python shim.py SPEC``, where SPEC is JSON: argv, env, cwd, log, state (a file that gets this process's
identity), exit (a file that gets the exit code) and graceSeconds.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Run the container until its main process ends, then end what is left of it. Linux only."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stopping: list[float] = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(time.monotonic() + spec["graceSeconds"]))
    _replace(Path(spec["state"]), {"pid": os.getpid(), "startTicks": start_ticks(os.getpid())})
    code = _run(spec, libc, stopping)
    _end_descendants()
    _replace(Path(spec["exit"]), {"exitCode": code, "finishedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})


def _run(spec: dict[str, object], libc: ctypes.CDLL, stopping: list[float]) -> int:
    with Path(str(spec["log"])).open("ab") as log:
        try:
            child = subprocess.Popen(
                spec["argv"],  # type: ignore[call-overload]  # JSON
                env=spec["env"],
                cwd=spec["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),  # noqa: PLW1509
            )
        except OSError as error:
            log.write(f"cannot start: {error}\n".encode())
            return 127
    told = False
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == child.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if stopping and not told:
            told = True
            os.kill(child.pid, signal.SIGTERM)
        if stopping and (time.monotonic() > stopping[0] or len(stopping) > 1):
            os.kill(child.pid, signal.SIGKILL)
        if pid == 0:
            time.sleep(0.02)


def _end_descendants() -> None:
    """Kill whatever the container left behind; as the subreaper, this process is the parent of all of it."""
    while children := _children():
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                break
        time.sleep(0.01)


def _children() -> list[int]:
    task = Path(f"/proc/self/task/{os.getpid()}/children")
    try:
        return [int(pid) for pid in task.read_text().split()]
    except OSError:
        return []


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; with the pid it names one process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _replace(path: Path, value: dict[str, object]) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)


if __name__ == "__main__":
    main()
