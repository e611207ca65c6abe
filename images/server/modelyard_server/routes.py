"""Which question a method and path ask."""

import re
from dataclasses import dataclass
from enum import Enum, auto

from modelyard_server.errors import RequestError, shown


class Action(Enum):
    """A question that the server answers."""

    INFER = auto()
    PREDICT = auto()
    LIVE = auto()
    READY = auto()
    SERVER = auto()
    METRICS = auto()
    MODEL = auto()
    MODEL_READY = auto()
    MODEL_CONFIG = auto()
    MODEL_STATS = auto()
    OPENAPI = auto()
    V1_STATUS = auto()
    V1_METADATA = auto()


@dataclass(frozen=True)
class Route:
    """A question, and the model and version that its path names."""

    action: Action
    model: str | None = None
    version: str | None = None


_V2 = r"/v2/models/([^/]+)(?:/versions/([^/]+))?"
_V1 = r"/v1/models/([^/:]+)(?:/versions/([^/:]+))?"
_ROUTES: tuple[tuple[str, re.Pattern[str], Action], ...] = tuple(
    (method, re.compile(pattern), action)
    for method, pattern, action in (
        ("POST", rf"{_V2}/infer", Action.INFER),
        ("POST", rf"{_V1}:predict", Action.PREDICT),
        ("GET", r"/v2/health/live", Action.LIVE),
        ("GET", r"/v2/health/ready", Action.READY),
        ("GET", r"/v2", Action.SERVER),
        ("GET", r"/metrics", Action.METRICS),
        ("GET", rf"{_V2}", Action.MODEL),
        ("GET", rf"{_V2}/ready", Action.MODEL_READY),
        ("GET", rf"{_V2}/config", Action.MODEL_CONFIG),
        ("GET", rf"{_V2}/stats", Action.MODEL_STATS),
        ("GET", r"/openapi.json", Action.OPENAPI),
        ("GET", rf"{_V1}", Action.V1_STATUS),
        ("GET", rf"{_V1}/metadata", Action.V1_METADATA),
    )
)


def resolve(method: str, path: str) -> Route:
    """The route of a request. Raises RequestError: 404 for the path, 405 with ``Allow`` for the method."""
    for allowed, pattern, action in _ROUTES:
        if match := pattern.fullmatch(path):
            if method != allowed:
                raise RequestError(f"method {method}: this path takes {allowed}", 405, ((b"allow", allowed.encode()),))
            return Route(action, *match.groups())
    raise RequestError(f"path {shown(path)} is unknown; models are at /v2/models/<name> and /v1/models/<name>", 404)
