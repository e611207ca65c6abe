"""Files with mistakes: exit code 2, the field and the remedy, and nothing stored."""

import copy
import socket
from collections.abc import Callable

import pytest

from laptops import EXAMPLE, Laptop, Object, claim, code, example, training

Edit = Callable[[dict[str, Object]], None]


def edited(edit: Edit) -> list[Object]:
    """The digits example with one mistake; ``edit`` sees the objects by kind."""
    objects = {each["kind"]: copy.deepcopy(each) for each in example()}
    edit(objects)
    return [each for each in objects.values() if each]


def unknown_field(objects: dict[str, Object]) -> None:
    objects["TrainingJob"]["spec"]["node"] = 2


def unknown_kind(objects: dict[str, Object]) -> None:
    objects["TrainingJob"]["kind"] = "TrainJob"


def old_version(objects: dict[str, Object]) -> None:
    objects["TrainingJob"]["apiVersion"] = "modelyard.dev/v1"


def missing_config_map(objects: dict[str, Object]) -> None:
    objects["ConfigMap"].clear()


def missing_claim(objects: dict[str, Object]) -> None:
    objects["PersistentVolumeClaim"].clear()


def missing_job(objects: dict[str, Object]) -> None:
    objects["TrainingJob"].clear()


def two_sources(objects: dict[str, Object]) -> None:
    artifact = {"uri": "pvc://models/x", "digest": f"sha256:{'0' * 64}"}
    objects["CompressionJob"]["spec"]["source"]["artifact"] = artifact


def negative_nodes(objects: dict[str, Object]) -> None:
    objects["TrainingJob"]["spec"]["nodes"] = -1


def reserved_name(objects: dict[str, Object]) -> None:
    objects["TrainingJob"]["spec"]["env"] = [{"name": "PET_NNODES", "value": "3"}]


def wrong_type(objects: dict[str, Object]) -> None:
    objects["ModelService"]["spec"]["replicas"] = "many"


def no_name(objects: dict[str, Object]) -> None:
    del objects["TrainingJob"]["metadata"]["name"]


def long_name(objects: dict[str, Object]) -> None:
    objects["ModelService"]["metadata"]["name"] = "d" * 46


def traversal(objects: dict[str, Object]) -> None:
    objects["TrainingJob"]["spec"]["output"]["uri"] = "pvc://models/../../etc"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (unknown_field, ["spec.node: unknown field"]),
        (unknown_kind, ["kind: 'TrainJob'", "TrainingJob"]),
        (old_version, ["apiVersion", "modelyard.dev/v1alpha1"]),
        (missing_config_map, ["spec.code.configMap: ConfigMap 'digits-code' not found"]),
        (missing_claim, ["PersistentVolumeClaim 'models' not found", "spec.output.uri"]),
        (missing_job, ["spec.source.trainingJob: TrainingJob 'digits' not found"]),
        (two_sources, ["spec.source: set exactly one of trainingJob and artifact"]),
        (negative_nodes, ["spec.nodes", "greater than or equal to 1", "-1"]),
        (reserved_name, ["spec.env[0]", "reserved names", "PET_"]),
        (wrong_type, ["spec.replicas", "integer"]),
        (no_name, ["metadata.name: required"]),
        (long_name, ["metadata.name: at most 45 characters"]),
        (traversal, ["spec.output.uri"]),
    ],
)
def test_a_mistake_in_a_file_is_named_and_nothing_is_stored(laptop: Laptop, edit: Edit, words: list[str]) -> None:
    file = laptop.file(*edited(edit))
    result = laptop("run", file)
    assert (result.code, result.out) == (2, "")
    assert all(word in result.err for word in words), result.err
    assert "Traceback" not in result.err
    assert list(laptop.state.glob("objects/*/*/*")) == []


def test_validate_says_the_same_without_running(laptop: Laptop) -> None:
    result = laptop("validate", laptop.file(*edited(negative_nodes)))
    assert (result.code, result.out) == (2, "")
    assert "spec.nodes" in result.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1, 2", "line"),
        ("- 1\n- 2\n", "not an object"),
        ("", "no objects"),
        ("kind: TrainingJob\n", "metadata"),
    ],
)
def test_a_file_that_holds_no_objects_is_refused(laptop: Laptop, text: str, words: str) -> None:
    path = laptop.folder / "broken.yaml"
    path.write_text(text)
    result = laptop("run", str(path))
    assert result.code == 2
    assert words in result.err


def test_a_missing_file_is_refused(laptop: Laptop) -> None:
    result = laptop("run", "nowhere.yaml")
    assert result.code == 2
    assert "nowhere.yaml: No such file" in result.err


def test_a_port_in_use_is_refused_before_anything_starts(laptop: Laptop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = laptop("run", str(EXAMPLE), "--port", str(port))
    assert result.code == 2
    assert f"--port {port}: in use" in result.err
    assert list(laptop.state.glob("objects/*/*/*")) == []


def test_what_this_machine_lacks_is_said_with_the_remedy(laptop: Laptop) -> None:
    file = laptop.file(claim(), code("pass"), training(accelerator={"type": "example.com/npu", "count": 2}))
    result = laptop("run", file)
    assert result.code == 1
    scheduled = laptop.condition("tjob/toy", "Scheduled")
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    assert "2 example.com/npu asked for, this machine has 0; remove spec.accelerator" in scheduled["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "pods"),
        ("get", "tjob/none"),
        ("logs", "tjob/none"),
        ("delete", "tjob/none"),
        ("predict", "none"),
        ("logs", "digits"),
    ],
)
def test_what_does_not_exist_is_said_to_be_missing(laptop: Laptop, arguments: tuple[str, ...]) -> None:
    result = laptop(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: ")
