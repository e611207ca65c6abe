"""Where things lie in a pod: every path under one root, so that a laptop needs only another root."""

import os
from pathlib import Path

ROOT_VARIABLE = "MODELYARD_ROOT"
HOST_VARIABLE = "MODELYARD_HOST"
"""The address that a server binds to: all addresses in a pod, the pod's loopback address on a laptop."""
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""Which of the pods of an Indexed Job this one is, from 0."""
DEFAULT_ROOT = "/modelyard"
PROGRESS_URL_VARIABLE = "MODELYARD_PROGRESS_URL"
"""Where the operator takes the reports of a pod that is no TrainingJob's; without it they are files only."""

CONFIG = "config"
"""Read-only: the run file."""
RUN_FILE = "run.json"
PROGRESS_CERTIFICATE_FILE = "progress-ca.crt"
"""In ``config``: the certificate of the authority behind the operator's progress server."""
TOKEN = "token"  # noqa: S105  a folder's name
"""Read-only: ``token/token`` names this pod to the operator's progress server."""
CODE = "code"
"""Read-only: the user's code."""
INPUTS = "inputs"
"""One folder or file an input: ``inputs/<name>``."""
VOLUMES = "volumes"
"""One folder a PersistentVolumeClaim: ``volumes/<claim>``."""
SECRETS = "secrets"
"""Read-only: one folder a Secret: ``secrets/<name>``."""
TOKEN_KEY = "token"  # noqa: S105  a key's name
"""The key of a Secret with the bearer token of a service."""
WORK = "work"
"""Scratch space of the pod, gone with it."""
PROGRESS_FILE = "progress.json"
"""In ``work``: the newest progress report, replaced by rename."""
TRANSFERS = "transfers"
"""In ``work``: what comes from an object store, and what is on its way there."""
TERMINATION_LOG = "termination-log"
"""One JSON of at most 4 KiB, written last."""

SERVER_PORT = 8080
"""The container port of the model server's HTTP interface."""
GRPC_PORT = 8081
"""The container port of its gRPC interface."""


def root() -> Path:
    """The root of this pod's paths, from ``MODELYARD_ROOT``, ``/modelyard`` by default."""
    return Path(os.environ.get(ROOT_VARIABLE, DEFAULT_ROOT))


def run_file() -> Path:
    """The run file of this pod."""
    return root() / CONFIG / RUN_FILE


def mount_path(*parts: str) -> str:
    """The absolute path in a pod of a folder under the root, for manifests."""
    return "/".join((DEFAULT_ROOT, *parts))
