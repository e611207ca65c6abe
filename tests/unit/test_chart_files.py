"""What the chart says by hand and other files say as well."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from modelyard import settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/modelyard"


def test_the_chart_has_the_package_s_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_every_value_is_in_the_schema_and_has_a_comment() -> None:
    text = (CHART / "values.yaml").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(yaml.safe_load(text)) == set(schema["properties"]) - {"global", "enabled"}
    assert [block for block in text.split("\n\n") if "#" not in block] == []


def test_no_object_of_the_schema_takes_a_name_that_it_does_not_know() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def open_objects(node: Any, path: str) -> list[str]:
        if not isinstance(node, dict):
            return []
        here = [path] if "properties" in node and node.get("type") == "object" else []
        here = [each for each in here if node.get("additionalProperties") is not False]
        return here + [found for name, part in node.items() for found in open_objects(part, f"{path}.{name}")]

    assert open_objects(schema, "") == []


def test_the_deployment_sets_only_variables_that_the_operator_reads() -> None:
    known = set(re.findall(r"MODELYARD_\w+", Path(settings.__file__).read_text()))
    used = set(re.findall(r"name: (MODELYARD_\w+)", (CHART / "templates/deployment.yaml").read_text()))
    assert used - known <= {"MODELYARD_METRICS_PORT"}
