"""Which requests leave next and together. Pure: times are passed in.

Requests can share a run of the model when they have the same inputs, datatypes, sizes after the first, and want the
same outputs. The group whose first request waits longest goes first, so no shape starves another.
"""

import math
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence

from modelyard_server.errors import OverloadError
from modelyard_server.tensors import Tensor

Done = Callable[["Job", Sequence[Tensor] | Exception], None]


class Job:
    """One request for the model. ``done`` is called once with its results, or why there are none."""

    __slots__ = ("deadline", "done", "inputs", "key", "outputs", "queued", "ran", "rows", "started")

    def __init__(
        self, inputs: Mapping[str, Tensor], outputs: Sequence[str], rows: int, done: Done, *, deadline: float = math.inf
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.rows = rows
        """Rows of each input; 0 for a request that shares no run."""
        self.done = done
        self.deadline = deadline
        """When nobody waits for it any more."""
        self.queued = 0.0
        """When it was queued, in seconds of the batcher's clock."""
        self.started = 0.0
        """When its run began."""
        self.ran: tuple[float, int] | None = None
        """How many seconds its run took, and with how many rows; noted only where requests are traced."""
        self.key: Hashable
        """Jobs of one key can share a run."""
        if rows:
            parts = [(name, tensor.dtype.num, tensor.shape[1:]) for name, tensor in inputs.items()]
            self.key = (tuple(parts), tuple(outputs))
        else:
            self.key = object()  # the job itself would be kept, with the body, until Python looks for cycles


class BatchQueue:
    """Waiting jobs, at most ``most`` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._groups: dict[Hashable, deque[Job]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """Whether it takes no further job."""
        return self._count >= self._most

    def check_room(self) -> None:
        """Raise OverloadError when the queue is full."""
        if self.full:
            raise OverloadError(f"{self._most} requests are waiting")

    def add(self, job: Job, now: float) -> None:
        """Queue a job. Raises OverloadError when the queue is full."""
        self.check_room()
        job.queued = now
        group = self._groups.get(job.key)
        if group is None:
            self._groups[job.key] = deque((job,))
        else:
            group.append(job)
        self._count += 1

    def discard(self, job: Job) -> bool:
        """Drop a job that still waits; False if it does not."""
        group = self._groups.get(job.key)
        if group is None or job not in group:
            return False
        group.remove(job)
        self._count -= 1
        if not group:
            del self._groups[job.key]
        return True

    def due(self, rows: int, delay: float) -> float:
        """When the next batch leaves if nothing more comes: at once with ``rows`` rows, else ``delay`` after its first.

        Infinite for an empty queue.
        """
        if not self._count:
            return math.inf
        group = self._next()
        full = group[0].rows == 0 or sum(job.rows for job in group) >= rows
        return group[0].queued if full else group[0].queued + delay

    def take(self, rows: int, now: float) -> tuple[list[Job], list[Job]]:
        """The next batch, and the jobs found before it whose deadline has passed.

        The batch is of one group, oldest first, of at most ``rows`` rows unless its first job alone has more.
        """
        batch: list[Job] = []
        late: list[Job] = []
        total = 0
        while self._count and not batch:
            group = self._next()
            key = group[0].key
            while group and (not batch or total + group[0].rows <= rows):
                job = group.popleft()
                self._count -= 1
                if job.deadline <= now:
                    late.append(job)
                    continue
                batch.append(job)
                total += job.rows
            if not group:
                del self._groups[key]
        return batch, late

    def _next(self) -> deque[Job]:
        groups = self._groups.values()
        return next(iter(groups)) if len(groups) == 1 else min(groups, key=lambda group: group[0].queued)
