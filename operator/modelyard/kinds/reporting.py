"""What a pod needs to report to the operator: an address, the certificate to know it by, and a token. Pure."""

from collections.abc import Mapping

from modelyard.api.containers import token_mount
from modelyard.api.metadata import ObjectMeta
from modelyard.api.pods import EnvVar
from modelyard.api.settings import OWN_PROGRESS_PATH, PROGRESS_AUDIENCE, Settings
from modelyard.api.volumes import Volume, VolumeMount
from modelyard.contract import layout


def certificate_file(settings: Settings) -> Mapping[str, str]:
    """A file beside the run file; none where the cluster reads reports from files."""
    return {} if settings.progress is None else {layout.PROGRESS_CERTIFICATE_FILE: settings.progress.certificate}


def token_mounts(settings: Settings) -> list[tuple[Volume, VolumeMount]]:
    """The token that names the pod."""
    return [] if settings.progress is None else [token_mount(PROGRESS_AUDIENCE, layout.TOKEN)]


def address(settings: Settings, plural: str, about: ObjectMeta) -> list[EnvVar]:
    """Where a pod of this object reports in our own words."""
    if settings.progress is None:
        return []
    path = OWN_PROGRESS_PATH.format(namespace=about.namespace, plural=plural, name=about.name)
    return [EnvVar(name=layout.PROGRESS_URL_VARIABLE, value=f"{settings.progress.url}/{path}")]
