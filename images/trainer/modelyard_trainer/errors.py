"""What can end an attempt, with a reason for a condition and a message with the remedy."""

PROCESS_ERROR = "ProcessError"
"""A rank raised, exited with another code than 0, or was killed."""
PEER_LOST = "PeerLost"
"""A consequence: a rank or pod elsewhere ended first, and the cause stands in its termination message."""


class StoppedError(BaseException):
    """The script ends here, since it was asked to and has saved. Not an Exception: the script must not go on."""


class TrainingError(Exception):
    """``reason`` is CamelCase for a condition, ``str(error)`` is for a person."""

    reason: str
    rank: int | None = None
    """The global rank that it happened in, where the launcher knows it."""
    exit_code: int | None = None
    """That rank's exit code."""


class RankFailedError(TrainingError):
    """A rank of this pod failed; its reason is the error's."""

    def __init__(self, reason: str, rank: int, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.rank = rank
        self.exit_code = exit_code


class RendezvousInvalidError(TrainingError):
    """A PET_* variable is missing or is not what torchrun expects."""

    reason = "RendezvousInvalid"


class RendezvousTimeoutError(TrainingError):
    """The pods did not meet within the join timeout."""

    reason = "RendezvousTimeout"


class RendezvousFailedError(TrainingError):
    """Node 0 could not host the rendezvous."""

    reason = "RendezvousFailed"


class PeerLostError(TrainingError):
    """Another rank or pod ended first; this one could not go on."""

    reason = PEER_LOST


class CodeNotFetchedError(TrainingError):
    """``spec.code.git`` names a repository or commit that git does not get."""

    reason = "CodeNotFetched"


class ScriptNotFoundError(TrainingError):
    """``spec.entrypoint.script`` names no file of the mounted code."""

    reason = "ScriptNotFound"


class NothingSavedError(TrainingError):
    """``spec.output`` is set, and the script ended without ``run.save``."""

    reason = "NothingSaved"


class ExportError(TrainingError):
    """The model has no ONNX form, or one that onnxruntime refuses."""

    reason = "ExportFailed"


class ExportMismatchError(TrainingError):
    """The exported model answers differently from the module."""

    reason = "ExportMismatch"
