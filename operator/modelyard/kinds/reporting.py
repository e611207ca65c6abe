"""What a pod needs to report to the operator: an address, the certificate to know it by, and a token. Pure."""

from collections.abc import Mapping

from modelyard.api.containers import token_mount
from modelyard.api.metadata import plural_of
from modelyard.api.pods import EnvVar
from modelyard.api.resource import Resource
from modelyard.api.settings import OWN_PROGRESS_PATH, PROGRESS_AUDIENCE, Settings
from modelyard.api.volumes import Volume, VolumeMount
from modelyard.contract import layout


def certificate_file(settings: Settings) -> Mapping[str, str]:
    """A file beside the run file; none where the cluster reads reports from files."""
    return {} if settings.progress is None else {layout.PROGRESS_CERTIFICATE_FILE: settings.progress.certificate}


def token_mounts(settings: Settings) -> list[tuple[Volume, VolumeMount]]:
    """The token that names the pod."""
    return [] if settings.progress is None else [token_mount(PROGRESS_AUDIENCE, layout.TOKEN)]


def trainer_address(settings: Settings, path: str) -> list[EnvVar]:
    """Where a pod of the trainer reports, at ``path``, in the words of Kubeflow Trainer (its KEP-2779) and ours."""
    if settings.progress is None:
        return []
    values = {
        "KUBEFLOW_TRAINER_SERVER_URL": f"{settings.progress.url}/{path}",
        "KUBEFLOW_TRAINER_SERVER_CA_CERT": layout.mount_path(layout.CONFIG, layout.PROGRESS_CERTIFICATE_FILE),
        "KUBEFLOW_TRAINER_SERVER_TOKEN": layout.mount_path(layout.TOKEN, "token"),
    }
    return [EnvVar(name=variable, value=value) for variable, value in values.items()]


def own_path(of: Resource) -> str:
    """The path for pods of that object."""
    about = of.metadata
    return OWN_PROGRESS_PATH.format(namespace=about.namespace, plural=plural_of(of.kind), name=about.name)


def address(settings: Settings, of: Resource) -> list[EnvVar]:
    """Where another pod of this object reports, in our own words alone."""
    if settings.progress is None:
        return []
    url = f"{settings.progress.url}/{own_path(of)}"
    return [EnvVar(name=layout.PROGRESS_URL_VARIABLE, value=url)]
