"""How a search is spread over several pods, and which of them speaks for the job. Pure."""

from collections.abc import Sequence

from modelyard.api.labels import INDEX_ANNOTATION
from modelyard.api.pods import EnvVar, EnvVarSource, FieldReference, Pod
from modelyard.api.workloads import JobSpec, SuccessPolicy, SuccessRule
from modelyard.contract import layout
from modelyard.contract.reports import Termination
from modelyard.kinds.endings import termination_of

_DECIDES = "0"
"""The index of the pod that measures, decides and publishes."""
_TOLD_TO_END = "Terminated"


def spread(spec: JobSpec, pods: int) -> JobSpec:
    """``spec``, of one pod, for so many: each knows its index, and the job is done when the one that decides is."""
    if pods == 1:
        return spec
    index = EnvVarSource(field_ref=FieldReference(field_path=f"metadata.annotations['{INDEX_ANNOTATION}']"))
    main, *others = spec.template.spec.containers
    told = main.model_copy(update={"env": [*main.env, EnvVar(name=layout.INDEX_VARIABLE, value_from=index)]})
    pod = spec.template.spec.model_copy(update={"containers": [told, *others]})
    return spec.model_copy(
        update={
            "parallelism": pods,
            "completions": pods,
            "completion_mode": "Indexed",
            "success_policy": SuccessPolicy(rules=[SuccessRule(succeeded_indexes=_DECIDES)]),
            "template": spec.template.model_copy(update={"spec": pod}),
        }
    )


def by_say(pods: Sequence[Pod]) -> list[Pod]:
    """The pods from the one that tells least to the one that tells most: the newest of those that decide."""
    return sorted(pods, key=lambda pod: (_decides(pod), pod.metadata.creation_timestamp or "", pod.metadata.name))


def last_word(pods: Sequence[Pod]) -> Termination | None:
    """What the job ended with: the word of the pod that decides, but where it was ended because another failed."""
    said = [(pod, found) for pod in reversed(by_say(pods)) if (found := termination_of(pod)) is not None]
    telling = [
        found for pod, found in said if found.reason != _TOLD_TO_END and (_decides(pod) or found.outcome != "Succeeded")
    ]
    return next(iter(telling or [found for _, found in said]), None)


def _decides(pod: Pod) -> bool:
    return pod.metadata.annotations.get(INDEX_ANNOTATION, _DECIDES) == _DECIDES
