"""What the operator is told by its installation, not by a resource."""

from dataclasses import dataclass

PROGRESS_AUDIENCE = "modelyard.dev/progress"
"""Whom a pod's token for its reports is for: no API server takes it."""
PROGRESS_PATH = "apis/trainer.kubeflow.org/v1alpha1/namespaces/{namespace}/trainjobs/{name}/status"
"""Progress is reported as to Kubeflow Trainer (its KEP-2779), so that what reports there reports here."""

OWN_PROGRESS_PATH = "apis/modelyard.dev/v1alpha1/namespaces/{namespace}/{plural}/{name}/progress"
"""The same for pods of other kinds, which report in our own words alone."""


@dataclass(frozen=True)
class ProgressEndpoint:
    """Where pods report their progress."""

    url: str
    """https://host:port of the operator's Service."""
    certificate: str
    """The certificate of the authority that signed the server's, as PEM."""


@dataclass(frozen=True)
class Settings:
    """The images that pods run when the resource names none, and what the cluster can do."""

    trainer_image: str = "modelyard/trainer"
    compressor_image: str = "modelyard/compressor"
    server_image: str = "modelyard/server"
    file_uris: bool = True
    """Whether ``file://`` names the same place for all pods: where they all run on one machine, and as its user."""
    progress: ProgressEndpoint | None = None
    """Where pods report their progress; None: the cluster reads it from their files."""
    pod_groups: bool = False
    """Whether the cluster serves PodGroups, by which its scheduler places all pods of an attempt or none."""
