"""CompressionJob: int8 ONNX that passed its gates where it will serve."""

from modelyard.api.workloads import ConfigMap, Job, Service
from modelyard.engine.kind import Kind, PrinterColumn
from modelyard.kinds.compressionjob.desired import desired, references
from modelyard.kinds.compressionjob.model import CompressionJob
from modelyard.kinds.compressionjob.observe import observe, revisit

KIND = Kind(
    name="CompressionJob",
    plural="compressionjobs",
    singular="compressionjob",
    short_name="cjob",
    model=CompressionJob,
    references=references,
    desired=desired,
    observe=observe,
    revisit=revisit,
    child_types=(ConfigMap, Service, Job),
    columns=(
        PrinterColumn("State", ".status.state"),
        PrinterColumn("Speedup", ".status.selected.speedup"),
        PrinterColumn("Drop", ".status.selected.accuracyDrop"),
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        PrinterColumn("Digest", ".status.artifact.digest", priority=1),
        PrinterColumn("Message", ".status.message", priority=1),
    ),
    conditions={
        "Running": "The pod runs.",
        "Suspended": "No pod is there, and none will be until spec.suspend is false.",
        "Tuned": "The models that prune and lowRank make are published, with their digests in the status.",
        "Evaluated": "A candidate was measured.",
        "GatesPassed": "The candidate holds all gates.",
        "ArtifactReady": "The artefact is published, with the digest in the status.",
        "Complete": "The compression is over and its artefact may be taken.",
        "Rejected": "A gate said no: a result, which is never tried again.",
        "Failed": "The compression ended without a result.",
    },
    states={
        "Waiting": "No operator has seen it yet, its source is not complete, or what its spec refers to is not there.",
        "Pending": "No node can take the pod.",
        "Stopped": "Its pods had to leave their node; it goes on when that is back.",
        "Starting": "The pod starts.",
        "Running": "The pod runs; the message says at which step.",
        "Suspending": "The pod was told to end.",
        "Suspended": "It has no pod until spec.suspend is false; finished trials are kept.",
        "Complete": "It published its artefact.",
        "Rejected": "A gate said no.",
        "Failed": "It ended without a result.",
    },
    alarms=frozenset({"Pending", "GatesPassed", "Rejected", "Failed"}),
)
