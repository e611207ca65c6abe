"""ModelService: a model behind an HTTP service, one immutable revision at a time."""

from modelyard.api.autoscaling import HorizontalPodAutoscaler
from modelyard.api.workloads import ConfigMap, Deployment, Service
from modelyard.engine.kind import Kind, PrinterColumn, ScalePaths
from modelyard.kinds.modelservice.desired import desired, references
from modelyard.kinds.modelservice.model import ModelService
from modelyard.kinds.modelservice.observe import observe, revisit

KIND = Kind(
    name="ModelService",
    plural="modelservices",
    singular="modelservice",
    short_name="msvc",
    model=ModelService,
    references=references,
    desired=desired,
    observe=observe,
    revisit=revisit,
    child_types=(ConfigMap, Service, Deployment, HorizontalPodAutoscaler),
    columns=(
        PrinterColumn("State", ".status.state"),
        PrinterColumn("Ready", ".status.stable.readyReplicas", "integer"),
        PrinterColumn("Wanted", ".status.stable.replicas", "integer"),
        PrinterColumn("URL", ".status.url"),
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        PrinterColumn("Digest", ".status.stable.digest", priority=1),
        PrinterColumn("Message", ".status.message", priority=1),
    ),
    conditions={
        "ModelResolved": "The artefact to serve is known and pinned.",
        "ArtifactVerified": "A pod has loaded the artefact, and every byte was as the digest says.",
        "Available": "At least one pod of the stable revision is ready.",
        "ScalingActive": "With autoscaling: the autoscaler measures the load and sets the number of pods.",
        "Accelerated": "With Cuda among runtime.executionProviders: the GPU runs the model, not the CPU in its place.",
        "RolloutHealthy": "No pod of the current revisions fails.",
        "Ready": "All pods of the stable revision are ready.",
    },
    states={
        "Waiting": "No operator has seen it yet, or there is no artefact to serve yet.",
        "Stopped": "Its pods had to leave their node; it goes on when that is back.",
        "Pending": "No node can take a pod, and too few are ready.",
        "Starting": "Pods of the first revision start, or the stable one has too few ready pods.",
        "Ready": "It serves, also while a new revision starts or fails beside it.",
        "ScaledToZero": "Nothing serves, as asked for.",
        "Failed": "Pods fail and too few are ready.",
    },
    alarms=frozenset({"ArtifactVerified", "RolloutHealthy", "Failed"}),
    scale=ScalePaths(".spec.replicas", ".status.replicas", ".status.selector"),
)
