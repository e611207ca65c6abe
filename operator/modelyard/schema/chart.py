"""The generated templates of the Helm chart: the CRDs, and the rules that its Roles are made of."""

import json
from collections.abc import Sequence
from typing import Any

from modelyard.schema.rbac import PolicyRule

KEPT = """\
{{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
{{- end }}
"""


def crd_template(crd_yaml: str) -> str:
    """The CRD where ``crds.install`` says so; with ``crds.keep``, Helm leaves it, and so all objects, when it goes."""
    before, metadata, after = _escaped(crd_yaml).partition("metadata:\n")
    return f"{{{{- if .Values.crds.install }}}}\n{before}{metadata}{KEPT}{after}{{{{- end }}}}\n"


def rules_template(name: str, rules: Sequence[PolicyRule]) -> str:
    """A named template that holds the rules."""
    lines = "".join(_escaped(_rule(rule)) for rule in rules)
    return f'{{{{- define "{name}" -}}}}\n{lines}{{{{- end }}}}\n'


def _rule(rule: PolicyRule) -> str:
    fields: dict[str, Any] = {"apiGroups": [rule.group], "resources": rule.resources, "verbs": rule.verbs}
    if rule.names:
        fields["resourceNames"] = rule.names
    return "- " + "\n  ".join(f"{name}: {json.dumps(value)}" for name, value in fields.items()) + "\n"


def _escaped(text: str) -> str:
    """The text so that a template gives it back."""
    return text.replace("{{", '{{ "{{" }}')
