from modelyard.api.containers import (
    Accelerator,
    PodOptions,
    ResourceRequirements,
    claim_mounts,
    config_map_mount,
    container_resources,
    pod_template,
)
from modelyard.api.pods import EnvVar, Resources


def test_a_pod_passes_pod_security_restricted_and_has_one_root() -> None:
    template = pod_template(
        component="trainer",
        image="modelyard/trainer",
        command=["python", "-m", "modelyard_trainer.launch"],
        labels={"app": "a"},
        mounts=[config_map_mount("a-run", "config"), *claim_mounts("pvc://models/digits")],
        env=[EnvVar(name="A", value="1")],
        options=PodOptions(node_selector={"disk": "fast"}),
    )
    assert template.model_dump(exclude_none=True, exclude_defaults=True) == {
        "metadata": {"labels": {"app": "a"}},
        "spec": {
            "containers": [
                {
                    "name": "trainer",
                    "image": "modelyard/trainer",
                    "command": ["python", "-m", "modelyard_trainer.launch"],
                    "env": [{"name": "PYTHONUNBUFFERED", "value": "1"}, {"name": "A", "value": "1"}],
                    "volumeMounts": [
                        {"name": "config", "mountPath": "/modelyard/config", "readOnly": True},
                        {"name": "claim-0", "mountPath": "/modelyard/volumes/models"},
                        {"name": "work", "mountPath": "/modelyard/work"},
                        {"name": "tmp", "mountPath": "/tmp"},
                    ],
                    "terminationMessagePath": "/modelyard/termination-log",
                    "securityContext": {},
                }
            ],
            "volumes": [
                {"name": "config", "configMap": {"name": "a-run"}},
                {"name": "claim-0", "persistentVolumeClaim": {"claimName": "models"}},
                {"name": "work", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
            ],
            "restartPolicy": "Never",
            "nodeSelector": {"disk": "fast"},
            "terminationGracePeriodSeconds": 30,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {},
        },
    }
    assert template.spec.containers[0].security_context is not None
    assert template.spec.containers[0].security_context.model_dump() == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_claims_whose_names_differ_in_a_dot_get_volumes_of_their_own() -> None:
    long = "c" * 100
    mounts = claim_mounts("pvc://a.b/x", "pvc://a-b/x", f"pvc://{long}/x", "pvc://a.b/y")
    assert [(volume.name, mount.name, mount.mount_path.rpartition("/")[2]) for volume, mount in mounts] == [
        ("claim-0", "claim-0", "a.b"),
        ("claim-1", "claim-1", "a-b"),
        ("claim-2", "claim-2", long),
    ]


def test_an_accelerator_is_a_limit() -> None:
    wanted = ResourceRequirements(requests={"cpu": "1"}, limits={"cpu": "2"})
    assert container_resources(wanted, Accelerator(type="nvidia.com/gpu", count=2)) == Resources(
        requests={"cpu": "1"}, limits={"cpu": "2", "nvidia.com/gpu": "2"}
    )
