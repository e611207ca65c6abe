"""The volumes of a pod: the fields that Modelyard writes, typed."""

from modelyard.api.base import Observed


class VolumeMount(Observed):
    """A volume at a path of a container."""

    name: str
    mount_path: str
    read_only: bool | None = None


class ConfigMapSource(Observed):
    """A ConfigMap as a volume."""

    name: str


class SecretSource(Observed):
    """A Secret as a volume."""

    secret_name: str
    optional: bool | None = None


class ClaimSource(Observed):
    """A PersistentVolumeClaim as a volume."""

    claim_name: str
    read_only: bool | None = None


class EmptyDirSource(Observed):
    """A folder that lives as long as the pod."""

    size_limit: str | None = None


class TokenProjection(Observed):
    """A token of the pod's service account, for one audience only."""

    audience: str
    expiration_seconds: int = 3600
    path: str


class Projection(Observed):
    """One source of a projected volume."""

    service_account_token: TokenProjection


class ProjectedSource(Observed):
    """Several sources in one folder."""

    sources: list[Projection]


class Volume(Observed):
    """One volume of a pod; exactly one source is set."""

    name: str
    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    persistent_volume_claim: ClaimSource | None = None
    empty_dir: EmptyDirSource | None = None
    projected: ProjectedSource | None = None
