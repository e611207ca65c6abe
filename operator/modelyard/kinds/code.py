"""The user's code: where it comes from, and a copy of it, so that every try runs the same bytes. Pure."""

from typing import Annotated

from pydantic import Field

from modelyard.api.base import Model, rule
from modelyard.api.children import Sources
from modelyard.api.metadata import ObjectKey, ObjectMeta
from modelyard.api.references import LocalReference
from modelyard.api.workloads import ConfigMap
from modelyard.contract.digest import Digest, digest_of_json
from modelyard.contract.runs import GitRun
from modelyard.engine.kind import SourceReference


class Git(Model):
    """Code in a git repository, at one commit."""

    url: Annotated[str, Field(max_length=1024, pattern=r"^(https|ssh|file)://[^\s]+$")]
    """The repository: https://, ssh:// or, where pods share a file system, file://."""
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$", max_length=64)]
    """The commit in full: every attempt runs the same code, which a branch could not promise."""
    secret_ref: LocalReference | None = None
    """A Secret with username and password, or with ssh-privatekey. Default: the repository is public."""


class Code(Model):
    """Where the training code comes from. Exactly one of configMap and git is set."""

    config_map: LocalReference | None = None
    """A ConfigMap whose keys are file names. It is copied when the job starts: later edits change nothing."""
    git: Git | None = None
    """A commit of a git repository, checked out in each pod."""

    @rule("has(self.configMap) != has(self.git)", "set exactly one of configMap and git")
    def _one_source(self) -> bool:
        return (self.config_map is None) != (self.git is None)


def code_reference(code: Code | None, namespace: str, copy: str | None) -> list[SourceReference]:
    """The ConfigMap that holds the code; not looked at while there is a ``copy`` of that name."""
    if code is None or code.config_map is None:
        return []
    own = None if copy is None else ObjectKey("ConfigMap", namespace, copy)
    return [SourceReference("spec.code.configMap", ObjectKey("ConfigMap", namespace, code.config_map.name), own)]


def code_source(code: Code | None, namespace: str, sources: Sources) -> ConfigMap | None:
    """The ConfigMap that the code names, if there is one."""
    if code is None or code.config_map is None:
        return None
    found = sources.get(ObjectKey("ConfigMap", namespace, code.config_map.name))
    return None if found is None else ConfigMap.model_validate(found)


def code_copy(metadata: ObjectMeta, data: dict[str, str]) -> ConfigMap:
    """A copy that never changes."""
    return ConfigMap(metadata=metadata, data=data, immutable=True)


def code_digest(code: Code | None, copy: ConfigMap | None) -> Digest | None:
    """The digest of the files, or of the name of a commit."""
    if copy is not None:
        return digest_of_json(dict(copy.data))
    if code is None or code.git is None:
        return None
    return digest_of_json({"url": code.git.url, "commit": code.git.commit})


def git_run(code: Code | None) -> GitRun | None:
    """What the pod is told of a git repository."""
    if code is None or code.git is None:
        return None
    git = code.git
    return GitRun(url=git.url, commit=git.commit, secret=git.secret_ref.name if git.secret_ref is not None else None)


def git_secrets(code: Code | None) -> list[str]:
    """The Secret with the keys to a git repository, if it has one."""
    git = code.git if code is not None else None
    return [git.secret_ref.name] if git is not None and git.secret_ref is not None else []
