"""What the fork server imports, so that a rank is there within milliseconds instead of seconds.

Nothing here may start a thread or use a GPU: neither survives a fork.
"""

import torch._dynamo  # DistributedDataParallel imports it, which takes each rank two seconds

from modelyard_trainer import session, worker

__all__ = ["session", "torch", "worker"]
