"""TrainingJob: distributed PyTorch that survives faults and publishes its model by digest."""

from modelyard.api.workloads import ConfigMap, Job, Service
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
    child_types=(ConfigMap, Service, Job),
    columns=(
        PrinterColumn("State", ".status.state"),
        PrinterColumn("Progress", ".status.progress.percent", "integer"),
        PrinterColumn("Attempt", ".status.attempt", "integer"),
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        PrinterColumn("Digest", ".status.artifact.digest", priority=1),
        PrinterColumn("Message", ".status.message", priority=1),
    ),
)
