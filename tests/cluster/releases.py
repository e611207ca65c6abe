"""The chart as it is installed in a test's cluster, and the operator with the rights that it gives."""

import json
from pathlib import Path

import httpx

from charts import CHART, Helm
from control_plane import ControlPlane, free_port
from operators import Object, Operator

SYSTEM = "modelyard-system"
RIGHTS = ("clusterroles/modelyard", f"namespaces/{SYSTEM}/roles/modelyard-lease")
"""The roles of a release that watches all namespaces."""
UNSERVED = {"podgroups": "scheduling.k8s.io/v1beta1"}
"""Resources that a cluster may lack, and the version of the API in which they are."""
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
        environment["MODELYARD_PROGRESS_PORT"] = str(free_port())
        started = Operator(self._host.kubeconfig, SYSTEM, self._folder, environment=environment)
        started.start()
        return started


def used(audit: Path, after: int = 0) -> tuple[set[Use], set[str]]:
    """What the operator's service account has done by the API server's audit log, and what it had no right to.

    Of the log without its first ``after`` lines. No right to means: refused and never allowed in the same place. What
    was granted is refused too while a release is uninstalled, for the pods go after their rights, and by an API server
    that has just started and does not know the roles yet.
    """
    done: set[Use] = set()
    refused: dict[tuple[Use, str], str] = {}
    allowed: set[tuple[Use, str]] = set()
    for event in map(json.loads, audit.read_text().splitlines()[after:]):
        where = event.get("objectRef")
        if where is None or event["user"]["username"] != f"system:serviceaccount:{SYSTEM}:modelyard":
            continue
        resource = "/".join(filter(None, (where["resource"], where.get("subresource"))))
        use = (where.get("apiGroup", ""), resource, event["verb"])
        done.add(use)
        if event.get("responseStatus", {}).get("code") == httpx.codes.CREATED:
            # A patch that creates.
            done.add((where.get("apiGroup", ""), resource, "create"))
        place = (use, where.get("namespace", ""))
        if event["annotations"]["authorization.k8s.io/decision"] == "forbid":
            refused[place] = event["requestURI"]
        else:
            allowed.add(place)
    return done, {uri for place, uri in refused.items() if place not in allowed}


def granted(client: httpx.Client, *roles: str) -> set[Use]:
    """What these roles grant, by their paths below the API of RBAC, of the resources that this cluster serves."""
    served = _served(client)
    bodies = [client.get(f"/apis/rbac.authorization.k8s.io/v1/{role}").raise_for_status().json() for role in roles]
    return {
        (group, resource, verb)
        for body in bodies
        for rule in body["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if resource not in UNSERVED or (group, resource) in served
        for verb in rule["verbs"]
    }


def _served(client: httpx.Client) -> set[tuple[str, str]]:
    """Group and name of the resources of UNSERVED that are served all the same."""
    found = set()
    for resource, version in UNSERVED.items():
        answer = client.get(f"/apis/{version}")
        names = [each["name"] for each in answer.json().get("resources", [])] if answer.is_success else []
        found |= {(version.partition("/")[0], name) for name in names if name == resource}
    return found
