"""The chart as it is installed in a test's cluster, and the operator with the rights that it gives."""

import json
from pathlib import Path

import httpx

from charts import CHART, Helm
from control_plane import ControlPlane
from operators import Object, Operator

SYSTEM = "modelyard-system"
Use = tuple[str, str, str]
"""Group, resource and verb."""


class Release:
    """The release ``modelyard``. The API server writes its audit log beside the folder of the control plane."""

    def __init__(self, helm: Helm, host: ControlPlane, client: httpx.Client, folder: Path) -> None:
        self.helm = helm.of(host.kubeconfig)
        self._host = host
        self._client = client
        self._folder = folder

    def install(self, *values: str) -> str:
        settings = [part for value in values for part in ("--set-json", value)]
        where = ["--namespace", SYSTEM, "--create-namespace"]
        return self.helm.run("upgrade", "--install", "--reset-values", "modelyard", str(CHART), *where, *settings)

    def uninstall(self) -> None:
        self.helm.run("uninstall", "modelyard", "--namespace", SYSTEM)

    def deployment(self) -> Object:
        path = f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/modelyard"
        found: Object = self._client.get(path).raise_for_status().json()
        return found

    def kubeconfig(self, account: str) -> Path:
        """With a token of this service account and nothing else."""
        path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = self._client.post(path, json=body).raise_for_status().json()["status"]["token"]
        config = json.loads(self._host.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        file = self._folder / f"{account}.kubeconfig"
        file.write_text(json.dumps(config))
        return file

    def operator(self) -> Operator:
        """Started as the Deployment says, with the rights that the chart gives."""
        [container] = self.deployment()["spec"]["template"]["spec"]["containers"]
        fields = {"metadata.name": "modelyard-0", "metadata.namespace": SYSTEM}
        environment = {"MODELYARD_NAMESPACES": "", "KUBECONFIG": str(self.kubeconfig("modelyard"))}
        for each in container["env"]:
            source = each.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            environment[each["name"]] = fields[source] if source else each["value"]
        operator = Operator(self._host.kubeconfig, SYSTEM, self._folder, environment=environment)
        operator.start()
        return operator

    def used(self) -> tuple[set[Use], set[str]]:
        """What the operator has asked for, and what it was refused."""
        used, refused = set(), set()
        for line in (self._host.folder.parent / "audit.log").read_text().splitlines():
            event = json.loads(line)
            if event["user"]["username"] != f"system:serviceaccount:{SYSTEM}:modelyard" or "objectRef" not in event:
                continue
            where = event["objectRef"]
            resource = "/".join(filter(None, (where["resource"], where.get("subresource"))))
            used.add((where.get("apiGroup", ""), resource, event["verb"]))
            status = event["responseStatus"]["code"]
            if status == httpx.codes.CREATED:
                # A patch that creates.
                used.add((where.get("apiGroup", ""), resource, "create"))
            if status == httpx.codes.FORBIDDEN:
                refused.add(event["requestURI"])
        return used, refused
