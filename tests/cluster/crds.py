"""The CRDs of ``crds/``, brought to an API server."""

import re
from http import HTTPStatus
from pathlib import Path

import httpx

from operators import Object
from waiting import until

CRDS = sorted((Path(__file__).parents[2] / "crds").glob("*.yaml"))
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def served(client: httpx.Client, path: Path) -> Object:
    """Apply the CRD of a file, and wait until its objects are served."""
    name = path.stem.removeprefix("modelyard.dev_") + ".modelyard.dev"
    url = f"{CRD_PATH}/{name}"
    client.patch(
        url,
        params={"fieldManager": "test"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=path.read_bytes(),
    ).raise_for_status()

    def shown() -> Object | None:
        crd: Object = client.get(url).raise_for_status().json()
        conditions = {each["type"]: each["status"] for each in crd["status"].get("conditions") or []}
        objects = f"/apis/{crd['spec']['group']}/{crd['spec']['versions'][0]['name']}/{crd['spec']['names']['plural']}"
        is_served = conditions.get("Established") == "True" and client.get(objects).status_code == HTTPStatus.OK
        return crd if is_served else None

    return until(shown, f"{name} served")


def complaints(answer: httpx.Response) -> list[str]:
    """The field and the words of each cause, without those that the server adds to ours."""
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY, answer.text
    causes = [(cause["field"], cause["message"]) for cause in answer.json()["details"]["causes"]]
    texts = [re.sub(r"^Invalid value: |\".*\": .* in body ", "", message) for _, message in causes]
    return [
        f"{field}: {re.sub('should match .*', 'should match a pattern', text)}"
        for (field, _), text in zip(causes, texts, strict=True)
    ]
