"""The labels that Modelyard puts on what it makes. A parent's own labels are never copied to children."""

KIND_LABEL = "modelyard.dev/kind"
NAME_LABEL = "modelyard.dev/name"
ATTEMPT_LABEL = "modelyard.dev/attempt"
REVISION_LABEL = "modelyard.dev/revision"
INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"
"""What the Job controller writes on each pod of an Indexed Job."""


def labels_of(kind: str, name: str, component: str) -> dict[str, str]:
    """The labels of a child, and of its pods, of the object ``kind`` ``name``."""
    return {
        "app.kubernetes.io/managed-by": "modelyard",
        "app.kubernetes.io/name": component,
        "app.kubernetes.io/instance": name,
        KIND_LABEL: kind,
        NAME_LABEL: name,
    }
