"""What the fork server, a fork of the launcher, has imported, so that a rank is there within milliseconds.

Nothing here may start a thread or use a GPU: neither survives a fork.
"""

import torch._dynamo  # DistributedDataParallel imports it, which takes each rank two seconds

from modelyard_trainer import session, worker

__all__ = ["session", "torch", "worker"]
