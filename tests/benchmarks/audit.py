"""What was asked of the API server, by whom and when, from its audit log."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

WRITES = ("apply", "create", "delete", "patch", "update")
CHILDREN = ("configmaps", "jobs", "services")


@dataclass(frozen=True)
class Request:
    """One request that was answered; times in seconds since 1970."""

    user: str
    verb: str
    resource: str
    """With its subresource, such as trainingjobs/status; empty for what is none."""
    namespace: str
    name: str
    received: float
    answered: float
    code: int

    @property
    def writes(self) -> bool:
        return self.verb in WRITES

    @property
    def makes_child(self) -> bool:
        return self.verb == "apply" and self.resource in CHILDREN


def policy(users: Sequence[str]) -> dict[str, Any]:
    """The audit policy: all requests of these users, and who creates TrainingJobs."""
    jobs = {"group": "modelyard.dev", "resources": ["trainingjobs"]}
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [
            {"level": "Metadata", "users": list(users)},
            {"level": "Metadata", "verbs": ["create"], "resources": [jobs]},
            {"level": "None"},
        ],
    }


class AuditLog:
    """Read on from where it was read before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> list[Request]:
        """What was logged since the last call."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [_request(json.loads(line)) for line in whole.splitlines()]


def _request(event: dict[str, Any]) -> Request:
    what = event.get("objectRef", {})
    received, answered = (_seconds(event[name]) for name in ("requestReceivedTimestamp", "stageTimestamp"))
    applied = event["verb"] == "patch" and "fieldManager=" in event["requestURI"]
    return Request(
        user=event["user"]["username"],
        verb="apply" if applied else event["verb"],
        resource="/".join(filter(None, (what.get("resource"), what.get("subresource")))),
        namespace=what.get("namespace", ""),
        name=what.get("name", ""),
        received=received,
        answered=answered,
        code=event.get("responseStatus", {}).get("code", 0),
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def by_verb(requests: Sequence[Request]) -> dict[str, int]:
    """How many of each, such as ``apply configmaps``."""
    return dict(Counter(f"{request.verb} {request.resource or 'other'}" for request in requests).most_common())


def seconds_to_children(created: Sequence[Request], asked: Sequence[Request]) -> list[float]:
    """For each created TrainingJob: from the answer to its creation to the answer to its last child's first apply."""
    first: dict[tuple[str, str], float] = {}
    for request in asked:
        if request.makes_child and request.code < 300:
            first.setdefault((request.resource, request.name), request.answered)
    done: dict[str, float] = {}
    for (_, child), at in first.items():
        owner = child.partition("-train")[0]
        done[owner] = max(at, done.get(owner, 0.0))
    return sorted(done[request.name] - request.answered for request in created if request.name in done)


def quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values, the smallest that at least that share does not exceed."""
    return values[max(0, -int(-len(values) * share // 1) - 1)] if values else float("nan")
