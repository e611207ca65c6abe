"""CompressionJob: int8 ONNX that passed its gates where it will serve."""

from modelyard.api.workloads import ConfigMap, Job
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
    child_types=(ConfigMap, Job),
    columns=(
        PrinterColumn("State", ".status.state"),
        PrinterColumn("Speedup", ".status.selected.speedup"),
        PrinterColumn("Drop", ".status.selected.accuracyDrop"),
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        PrinterColumn("Digest", ".status.artifact.digest", priority=1),
        PrinterColumn("Message", ".status.message", priority=1),
    ),
)
