"""Why a compression gives no result: a reason for a condition, and a message with the remedy."""

from modelyard.contract.compression import MemoryReport


class CompressionError(Exception):
    """The input is at fault, so another try would fail alike.

    ``reason`` is CamelCase for a condition, ``str(error)`` is for a person and names the field to change.
    """

    def __init__(self, reason: str, message: str, memory: MemoryReport | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.memory = memory
        """Set where there is too little of it."""
