"""``modelyard report``: open the page of a CompressionJob in a browser."""

import webbrowser
from collections.abc import Callable
from pathlib import Path

from modelyard.api.metadata import ObjectKey
from modelyard.cli.errors import BadInput
from modelyard.cli.places import place
from modelyard.clusters.process.store import ObjectStore
from modelyard.kinds.compressionjob.model import CompressionJob
from modelyard.storage.errors import StorageError


def page_of(state: Path, name: str, namespace: str) -> Path:
    """The report's page as a file of this machine; one from a bucket is fetched. Raises BadInput."""
    body = ObjectStore(state / "objects").get(ObjectKey("CompressionJob", namespace, name))
    if body is None:
        raise BadInput(f"CompressionJob {name!r} not found; `modelyard get cjob` lists what is there")
    job = CompressionJob.model_validate(body)
    if job.status.report is None:
        raise BadInput(f"CompressionJob {name!r} has no report yet: {job.status.message or job.status.state}")
    folder, _, file = job.status.report.html.rpartition("/")
    try:
        return place(state, namespace, folder, job.spec.output.secret).fetch(file)
    except StorageError as error:
        raise BadInput(str(error)) from error


def open_page(page: Path, browse: Callable[[str], bool] = webbrowser.open) -> str:
    """Open it, and say so; where there is no browser, say where it lies."""
    opened = browse(page.resolve().as_uri())
    return f"opened {page}" if opened else f"no browser was found; open {page}"
