from modelyard.api.containers import (
    Accelerator,
    PodOptions,
    ResourceRequirements,
    Toleration,
    claim_mounts,
    config_map_mount,
    container_resources,
    pod_template,
    tolerations_of,
)
from modelyard.api.pods import EnvVar, PodToleration, Resources


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


def test_the_taint_of_an_accelerators_nodes_is_tolerated_wherever_it_is_asked_for() -> None:
    options = PodOptions(tolerations=[Toleration(key="team", value="a", effect="NoExecute", toleration_seconds=9)])
    asked = container_resources(ResourceRequirements(limits={"cpu": "1"}), Accelerator(type="nvidia.com/gpu"))
    assert tolerations_of(options, asked) == [
        PodToleration(key="team", operator="Equal", value="a", effect="NoExecute", toleration_seconds=9),
        PodToleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule"),
    ]
    limits = container_resources(ResourceRequirements(limits={"example.com/npu": "1", "memory": "1Gi"}), None)
    assert [each.key for each in tolerations_of(PodOptions(), limits)] == ["example.com/npu"]
