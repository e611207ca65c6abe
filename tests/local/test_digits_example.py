"""The digits example end to end, as a newcomer would use it. The tests of this module build on each other."""

import json
import urllib.error
import urllib.request

import pytest

from laptops import EXAMPLE, Laptop, Object, example
from modelyard.contract.artifact import MANIFEST_FILE, Manifest

STRICT = "digits-strict"


@pytest.fixture(scope="module")
def digits(module_laptop: Laptop) -> Laptop:
    """The example, run to its end and left serving."""
    result = module_laptop("run", str(EXAMPLE), "--keep")
    assert result.code == 0, result.out + result.err
    return module_laptop


def test_four_ranks_train_to_97_percent(digits: Laptop) -> None:
    status = digits.status("tjob/digits")
    assert status["nodes"]["worldSize"] == 4
    assert float(status["artifact"]["metrics"]["accuracy"]) >= 0.97


def test_int8_loses_at_most_one_point_and_is_smaller_and_faster(digits: Laptop) -> None:
    status = digits.status("cjob/digits-int8")
    assert float(status["selected"]["accuracyDrop"]) <= 0.01
    assert status["selected"]["sizeBytes"] < status["baseline"]["sizeBytes"] / 3
    assert float(status["selected"]["speedup"]) > 1.1


def test_each_digest_names_the_one_before(digits: Laptop) -> None:
    trained = digits.status("tjob/digits")
    compressed = digits.status("cjob/digits-int8")
    served = digits.status("msvc/digits")
    assert compressed["artifact"]["parentDigest"] == trained["artifact"]["digest"]
    assert served["stable"]["digest"] == compressed["artifact"]["digest"]
    manifest = _manifest(digits, compressed["artifact"]["uri"])
    assert (manifest.digest, manifest.lineage.parent) == (
        compressed["artifact"]["digest"],
        trained["artifact"]["digest"],
    )
    assert _manifest(digits, trained["artifact"]["uri"]).lineage.code_digest == trained["resolved"]["codeDigest"]


@pytest.mark.parametrize("protocol", ["v2", "v2-binary", "v1"])
def test_the_service_answers_about_real_test_images(digits: Laptop, protocol: str) -> None:
    result = digits("predict", "digits", "--protocol", protocol, "--samples", "360")
    assert result.code == 0, result.err
    share = float(result.out.splitlines()[-1].split()[3])
    assert share >= 0.96


def test_the_report_is_one_file_that_loads_nothing(digits: Laptop) -> None:
    report = digits.status("cjob/digits-int8")["report"]
    page = (digits.state / report["html"].replace("pvc://", "volumes/")).read_text()
    assert "<svg" in page
    assert not any(f'{attribute}="http' in page for attribute in ("src", "href"))


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ({"name": "picture", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.0] * 64}, "picture"),
        ({"name": "image", "shape": [1, 8, 8], "datatype": "FP32", "data": [0.0] * 64}, "shape"),
        ({"name": "image", "shape": [1, 1, 8, 8], "datatype": "INT8", "data": [0] * 64}, "INT8"),
        ({"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.0] * 63}, "63"),
    ],
)
def test_a_wrong_request_gets_400_with_an_error(digits: Laptop, tensor: Object, words: str) -> None:
    url = f"{digits.status('msvc/digits')['url']}/v2/models/digits/infer"
    request = urllib.request.Request(url, json.dumps({"inputs": [tensor]}).encode())
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    with refused.value as answer:
        assert answer.code == 400
        assert words in json.load(answer)["error"]


def test_a_second_run_changes_and_retrains_nothing(digits: Laptop) -> None:
    before = digits.status("tjob/digits")
    result = digits("run", str(EXAMPLE), "--keep")
    assert result.code == 0, result.out
    assert "trainingjob/digits unchanged (Complete)" in result.out
    assert digits.status("tjob/digits") == before


def test_a_mistake_or_another_file_disturbs_nothing_that_runs(digits: Laptop) -> None:
    pod = set(digits.processes())
    assert digits("delete", "tjob/typo").code == 2
    assert digits("run", digits.file({"kind": "Typo"})).code == 2
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}, "data": {}}
    assert digits("run", digits.file(other)).code == 0
    assert digits("predict", "digits").code == 0
    assert set(digits.processes()) == pod


def test_a_rejected_compression_leaves_the_service_as_it_is(digits: Laptop) -> None:
    objects = {(each["kind"], each["metadata"]["name"]): each for each in example()}
    strict = objects["CompressionJob", "digits-int8"]
    strict["metadata"]["name"] = STRICT
    strict["spec"]["gates"] = {"minSpeedup": "1000"}
    service = objects["ModelService", "digits"]
    service["spec"]["model"] = {"compressionJob": {"name": STRICT}}
    before = digits.status("msvc/digits")["stable"]["digest"]
    result = digits("run", digits.file(strict, service), "--keep")
    assert result.code == 1
    assert digits.status(f"cjob/{STRICT}")["state"] == "Rejected"
    assert "minSpeedup" in digits.condition(f"cjob/{STRICT}", "Rejected")["message"]
    assert not digits.condition(f"cjob/{STRICT}", "Failed")
    after = digits.status("msvc/digits")
    assert (after["state"], after["stable"]["digest"]) == ("Ready", before)
    assert "rejected" in after["message"]
    assert digits("run", str(EXAMPLE), "--keep").code == 0


def test_equal_calibration_and_evaluation_sets_are_refused(digits: Laptop) -> None:
    job = next(each for each in example() if each["kind"] == "CompressionJob")
    uri = f"{digits.status('tjob/digits')['artifact']['uri']}/eval.npz"
    job["metadata"]["name"] = "digits-equal"
    job["spec"]["data"] = {"calibration": {"uri": uri}}
    assert digits("run", digits.file(job)).code == 1
    failed = digits.condition("cjob/digits-equal", "Failed")
    assert failed["reason"] == "CalibrationEqualsEvaluation"
    assert "spec.data.calibration" in failed["message"]


def test_a_changed_byte_is_named_and_not_served(digits: Laptop) -> None:
    model = digits.status("msvc/digits")["model"]
    path = digits.state / model["uri"].replace("pvc://", "volumes/") / "model.onnx"
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    digits("stop")
    result = digits("run", str(EXAMPLE))
    assert result.code == 1
    verified = digits.condition("msvc/digits", "ArtifactVerified")
    assert verified["reason"] == "DigestMismatch"
    assert "model.onnx was changed" in verified["message"]
    assert digits.condition("msvc/digits", "Ready")["status"] == "False"


def _manifest(laptop: Laptop, uri: str) -> Manifest:
    path = laptop.state / uri.replace("pvc://", "volumes/") / MANIFEST_FILE
    return Manifest.model_validate_json(path.read_bytes())
