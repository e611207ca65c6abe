"""TrainingJob: distributed PyTorch that survives faults and publishes its model by digest."""

from modelyard.api.workloads import ConfigMap, Job, PodGroup, Service
from modelyard.engine.kind import Kind, PrinterColumn
from modelyard.kinds.trainingjob.desired import desired, references
from modelyard.kinds.trainingjob.model import TrainingJob
from modelyard.kinds.trainingjob.observe import observe, revisit

KIND = Kind(
    name="TrainingJob",
    plural="trainingjobs",
    singular="trainingjob",
    short_name="tjob",
    model=TrainingJob,
    references=references,
    desired=desired,
    observe=observe,
    revisit=revisit,
    child_types=(ConfigMap, Service, Job, PodGroup),
    columns=(
        PrinterColumn("State", ".status.state"),
        PrinterColumn("Progress", ".status.progress.percent", "integer"),
        PrinterColumn("Attempt", ".status.attempt", "integer"),
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        PrinterColumn("Digest", ".status.artifact.digest", priority=1),
        PrinterColumn("Message", ".status.message", priority=1),
    ),
    conditions={
        "Scheduled": "Every pod of the current attempt has a node.",
        "Running": "Every pod of the current attempt runs.",
        "ArtifactReady": "The artefact is published, with the digest in the status.",
        "GatePassed": "The artefact's metrics hold all gates.",
        "Suspended": "No pods are there, and none will be until spec.suspend is false.",
        "Complete": "The training is over and its artefact may be taken.",
        "Failed": "The training is over and hands nothing on.",
    },
    states={
        "Waiting": "No operator has seen it yet, or something that the spec refers to does not exist yet.",
        "Pending": "No node can take a pod.",
        "Stopped": "Its pods had to leave their node; it goes on when that is back.",
        "Queued": "Kueue, or somebody else, has suspended the attempt's Job.",
        "Starting": "Pods start.",
        "Running": "All pods run.",
        "Stopping": "An attempt failed or is over its time, and its pods still end.",
        "Suspending": "Pods were told to end, and have the time for a last checkpoint.",
        "Suspended": "It has no pods until spec.suspend is false.",
        "Restarting": "The next attempt starts after a wait.",
        "Complete": "It published its artefact.",
        "Failed": "It ended without one that may be taken.",
    },
    alarms=frozenset({"Pending", "Scheduled", "Restarting", "GatePassed", "Failed"}),
)
