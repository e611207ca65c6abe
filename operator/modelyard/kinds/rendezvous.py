"""How the pods of a training find each other: torchrun's settings as environment variables. Pure."""

from modelyard.api.labels import INDEX_ANNOTATION
from modelyard.api.pods import EnvVar, EnvVarSource, FieldReference

RENDEZVOUS_PORT = 29400
JOIN_TIMEOUT_SECONDS = 600


def rendezvous_variables(
    *,
    pods: str,
    domain: str,
    identity: str,
    nodes: str,
    ranks_per_node: int,
    cores: int,
    join_window_seconds: int | None = None,
) -> list[EnvVar]:
    """C10d at pod 0 of the Indexed Job ``pods``, an id of its own for each attempt (torch/distributed/run.py, PET_*).

    ``domain`` is that of the headless Service, ``cores`` are shared by the ranks of a pod.
    """
    index = EnvVarSource(field_ref=FieldReference(field_path=f"metadata.annotations['{INDEX_ANNOTATION}']"))
    window = "" if join_window_seconds is None else f",last_call_timeout={join_window_seconds}"
    values = {
        "PET_NNODES": nodes,
        "PET_NPROC_PER_NODE": str(ranks_per_node),
        "PET_RDZV_BACKEND": "c10d",
        "PET_RDZV_ENDPOINT": f"{pods}-0.{domain}:{RENDEZVOUS_PORT}",
        "PET_RDZV_ID": identity,
        "PET_RDZV_CONF": f"join_timeout={JOIN_TIMEOUT_SECONDS}{window}",
        "OMP_NUM_THREADS": str(max(1, cores // ranks_per_node)),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    return [
        EnvVar(name="PET_NODE_RANK", value_from=index),
        EnvVar(name="PET_LOCAL_ADDR", value=f"{pods}-$(PET_NODE_RANK).{domain}"),
        *(EnvVar(name=variable, value=value) for variable, value in values.items()),
    ]
