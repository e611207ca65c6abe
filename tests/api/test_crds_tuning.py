"""The CRD of CompressionJob on a real API server: what prune, lowRank and distil ask for."""

import httpx
import pytest

from crds import complaints
from manifests import custom, path
from operators import Object

CLASS = "code: {configMap: {name: a}}, entrypoint: {script: a.py, model: A}, data: {training: {uri: pvc://m/x.npz}}"
ORDER = "spec: recipe: the steps in the order prune, lowRank, distil, optimise, quantize, each at most once"
NEEDS = (
    "spec: recipe: prune and lowRank change the model's class and train it again: set code, entrypoint and"
    " data.training"
)
UNUSED = (
    "spec: code, entrypoint, trainerImage, tuning, data.training and a distil step are for prune and lowRank: add such"
    " a step to the recipe, or leave them out"
)
METHOD = (
    "spec.recipe[0].prune: method: Taylor or Magnitude, which remove whole channels; unstructured and 2:4 sparsity are"
    " not offered, since ONNX Runtime has no kernels that are faster or smaller for them"
)

REFUSED = {
    "no class": ("recipe: [{prune: {}}, {quantize: {}}]", NEEDS),
    "a class, and no step that needs it": (f"{{{CLASS}}}", UNUSED),
    "a teacher without a pupil": ("recipe: [{distil: {}}, {quantize: {}}]", UNUSED),
    "steps in another order": (f"{{{CLASS}, recipe: [{{distil: {{}}}}, {{prune: {{}}}}, {{quantize: {{}}}}]}}", ORDER),
    "a step twice": (f"{{{CLASS}, recipe: [{{prune: {{}}}}, {{prune: {{}}}}, {{quantize: {{}}}}]}}", ORDER),
    "sparsity": (f"{{{CLASS}, recipe: [{{prune: {{method: Unstructured}}}}, {{quantize: {{}}}}]}}", METHOD),
}


@pytest.mark.parametrize(("written", "expected"), REFUSED.values(), ids=REFUSED)
def test_a_recipe_is_refused_in_our_words(
    written: str, expected: str, crds: list[Object], client: httpx.Client, namespace: str
) -> None:
    answer = client.post(path("CompressionJob", namespace), json=custom("CompressionJob", written))
    assert complaints(answer) == [expected]


def test_a_recipe_with_all_steps_is_accepted_as_it_is_written(
    crds: list[Object], client: httpx.Client, namespace: str
) -> None:
    steps = ["prune", "lowRank", "distil", "optimise", "quantize"]
    recipe = ", ".join(f"{{{step}: {{}}}}" for step in steps)
    written = custom("CompressionJob", f"{{{CLASS}, recipe: [{recipe}]}}")
    answer = client.post(path("CompressionJob", namespace), json=written).raise_for_status()
    assert answer.json()["spec"]["recipe"] == [{step: {}} for step in steps]
