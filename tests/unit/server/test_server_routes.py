import pytest

from modelyard_server.errors import RequestError
from modelyard_server.routes import Action, Route, resolve


@pytest.mark.parametrize(
    ("request_line", "route"),
    [
        ("GET /v2", Route(Action.SERVER)),
        ("GET /v2/health/live", Route(Action.LIVE)),
        ("GET /v2/health/ready", Route(Action.READY)),
        ("GET /v2/models/m", Route(Action.MODEL, "m")),
        ("GET /v2/models/m/versions/1", Route(Action.MODEL, "m", "1")),
        ("GET /v2/models/m/ready", Route(Action.MODEL_READY, "m")),
        ("GET /v2/models/m/versions/1/config", Route(Action.MODEL_CONFIG, "m", "1")),
        ("POST /v2/models/m/infer", Route(Action.INFER, "m")),
        ("POST /v2/models/m/versions/1/infer", Route(Action.INFER, "m", "1")),
        ("GET /v1/models/m", Route(Action.V1_STATUS, "m")),
        ("GET /v1/models/m/versions/1/metadata", Route(Action.V1_METADATA, "m", "1")),
        ("POST /v1/models/m:predict", Route(Action.PREDICT, "m")),
        ("POST /v1/models/m/versions/1:predict", Route(Action.PREDICT, "m", "1")),
        ("GET /metrics", Route(Action.METRICS)),
    ],
)
def test_every_question_has_its_path(request_line: str, route: Route) -> None:
    assert resolve(*request_line.split()) == route


@pytest.mark.parametrize(
    ("request_line", "status", "error"),
    [
        ("GET /", 404, "path '/' is unknown; models are at /v2/models/<name> and /v1/models/<name>"),
        ("POST /v2/models/m/load", 404, "path '/v2/models/m/load' is unknown"),
        ("GET /v2/models/m/infer", 405, "method GET: this path takes POST"),
        ("DELETE /v2/models/m", 405, "method DELETE: this path takes GET"),
    ],
)
def test_other_paths_and_methods_are_refused(request_line: str, status: int, error: str) -> None:
    with pytest.raises(RequestError, match=error) as refused:
        resolve(*request_line.split())
    assert refused.value.status == status
