"""Code from a git repository: one commit, without its history, by the git program.

Keys never stand in an argument, a log or the folder of the code: git asks a script for them, which reads the mounted
Secret.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from modelyard.contract import layout
from modelyard.contract.runs import GitRun
from modelyard_trainer.console import say
from modelyard_trainer.errors import CodeNotFetchedError
from modelyard_trainer.workspace import Workspace, empty_folder

_SECONDS = 600
_ASK = """#!/bin/sh
case "$1" in
Username*) exec cat "$MODELYARD_GIT_SECRET/username" ;;
*) exec cat "$MODELYARD_GIT_SECRET/password" ;;
esac
"""


def check_out(git: GitRun, work: Workspace) -> Path:
    """The folder with the files of ``git.commit``. Raises CodeNotFetchedError."""
    if urlsplit(git.url).password is not None:
        raise CodeNotFetchedError("spec.code.git.url holds a password; put it into a Secret and name that in secretRef")
    folder = work.code
    empty_folder(folder)
    environment = _environment(git, work)
    say(f"modelyard: code: commit {git.commit} of {git.url}")
    _git(["init", "--quiet"], folder, environment, git)
    _git(["fetch", "--quiet", "--depth=1", "--no-tags", "--", git.url, git.commit], folder, environment, git)
    _git(["checkout", "--quiet", "--detach", "FETCH_HEAD"], folder, environment, git)
    found = _git(["rev-parse", "HEAD"], folder, environment, git).strip()
    if found != git.commit:
        raise CodeNotFetchedError(f"{git.url}: asked for commit {git.commit}, got {found}; name a full commit")
    return folder


def _environment(git: GitRun, work: Workspace) -> dict[str, str]:
    """Nothing of this machine's own configuration counts, and git never waits for a person."""
    environment = os.environ | {
        "HOME": str(work.temporary),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "https:http:ssh:file",
    }
    if git.secret is None:
        return environment
    secret = layout.root() / layout.SECRETS / git.secret
    if not secret.is_dir():
        raise CodeNotFetchedError(f"Secret {git.secret!r} is missing; create it in the same namespace")
    ssh_key = secret / "ssh-privatekey"
    if ssh_key.is_file():
        # ssh refuses a key that others may read, as a mounted Secret is.
        key = _private(work.temporary / "ssh-key", ssh_key.read_text().rstrip() + "\n", 0o600)
        hosts = secret / "known_hosts"
        known = f"-o UserKnownHostsFile={hosts}" if hosts.is_file() else "-o StrictHostKeyChecking=accept-new"
        return environment | {"GIT_SSH_COMMAND": f"ssh -i {key} -o IdentitiesOnly=yes -o BatchMode=yes {known}"}
    ask = _private(work.temporary / "git-ask", _ASK, 0o700)
    return environment | {"GIT_ASKPASS": str(ask), "MODELYARD_GIT_SECRET": str(secret)}


def _private(path: Path, text: str, mode: int) -> Path:
    path.touch(mode=mode)
    path.write_text(text)
    return path


def _git(arguments: Sequence[str], folder: Path, environment: dict[str, str], git: GitRun) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False,
            timeout=_SECONDS, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise CodeNotFetchedError("the image has no git; take one that has, or use a ConfigMap") from error
    except subprocess.TimeoutExpired as error:
        raise CodeNotFetchedError(f"{git.url}: no end after {_SECONDS} s; see that pods reach it") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise CodeNotFetchedError(f"{git.url} at {git.commit}: git {arguments[0]}: {last}")
    return done.stdout
