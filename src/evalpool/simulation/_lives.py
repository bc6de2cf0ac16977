"""The lives of virtual workers that start, crash and are taken away, for a kernel whose workers do so.

The kernel has a queue of idle workers. With a `WorkerModel` this is that queue: a heap by the time at which each is
there. A worker that starts is in it with a time in the future. What happened to an idle worker is computed only when
it is the first in the queue, because nobody can see it before::

    first idle worker   there since 10, taken away at 25; a job comes at 40
                        -> its next life begins at 25 + away, it is there at 25 + away + start_delay, and is queued anew

What happens to a busy worker is computed once, when the runtime of its job is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import heappop, heappush, heapreplace
from typing import Any, NamedTuple

from evalpool.errors import SimulationError
from evalpool.simulation._queue import Queue
from evalpool.simulation._trace import Trace
from evalpool.simulation._worker_model import WorkerModel

__all__ = ["Lives", "Loss"]

SOURCE = "as worker_model says"
MOST_LIVES = 100_000
"""How often in a row a worker may be taken away without a job: months of idleness, or times in another unit."""


class Loss(NamedTuple):
    """The end of an attempt together with its worker's life: `seconds` after its start, by a crash or not."""

    seconds: float
    crash: bool
    message: str


class Lives:
    """The idle workers, in the order in which they are there; of equals those whose job ended, then by index.

    The kernel uses it as it uses its deque of idle workers, after it has said by `look` at which time it looks.

    Args:
        model: what happens to workers.
        since: by worker, since when it is there; shared with the kernel, which sets it at the end of a job.
        queue, trace: the kernel's.

    Attributes:
        lost: the jobs whose last attempt that ended was lost with its worker.
    """

    __slots__ = (
        "_attempts",
        "_idle",
        "_life",
        "_losing",
        "_model",
        "_order",
        "_queue",
        "_since",
        "_taken",
        "_trace",
        "_used",
        "lost",
    )

    def __init__(self, model: WorkerModel, since: list[float], queue: Queue, trace: Trace) -> None:
        self._model = model
        self._since = since
        self._queue, self._trace = queue, trace
        self._life = [-1] * len(since)  # which life of each worker it is, from 0
        self._used = [0] * len(since)  # in which of its lives each worker ran a job last
        self._taken = [math.inf] * len(since)  # when the life of each will end, if no crash ends it before
        self._idle: list[tuple[float, int, int, int]] = []  # (since, 0 after a job and 1 after a start, order, worker)
        self._order = 0
        self._attempts: dict[int, int] = {}  # by job, how many attempts it has had before; those of first attempts not
        self._losing: dict[int, bool] = {}  # running jobs that will be lost -> whether by a crash
        self.lost: set[int] = set()
        for worker in range(len(since)):
            self._begin(worker, 0.0)
            heappush(self._idle, (since[worker], 1, worker, worker))

    def look(self, at: float) -> float:
        """Let the lives go on until the first idle worker is there, at `at` or as soon after as any is; return when
        that is; infinity if all are busy.
        """
        idle, taken = self._idle, self._taken
        while idle:
            since, *_, worker = idle[0]
            when = max(since, at)
            if taken[worker] > when:
                return when
            self._begin_after(worker)
            heapreplace(idle, (self._since[worker], 1, worker, worker))
        return math.inf

    def hold(self, worker: int, at: float) -> float:
        """Return when a worker that is not in the queue can begin a job, `at` or, if it is taken away before, later."""
        while self._taken[worker] <= at:
            self._begin_after(worker)
            at = max(at, self._since[worker])
        return at

    def wanted(self) -> bool:
        """Whether a job waits for a worker."""
        return self._queue.first(self._trace.statuses) is not None

    # As the kernel's deque.

    def __len__(self) -> int:
        """How many workers run no job."""
        return len(self._idle)

    def __getitem__(self, place: int) -> int:
        return self._idle[place][3]

    def __iter__(self) -> Iterator[int]:
        return (entry[3] for entry in sorted(self._idle))

    def popleft(self) -> int:
        return heappop(self._idle)[3]

    def append(self, worker: int) -> None:
        """A worker is idle again, at `since`."""
        self._order += 1
        heappush(self._idle, (self._since[worker], 0, self._order, worker))

    # Attempts.

    def loss(self, job: int, runtime: float, limit: float | None) -> Loss | None:
        """Return how the present attempt of a job is lost; None if it ends by itself.

        Args:
            job: its number.
            runtime: seconds that it runs if nothing ends it.
            limit: its time limit.
        """
        trace = self._trace
        worker, start = trace.worker[job], trace.start[job]
        charged = runtime if limit is None else min(runtime, limit)
        share = self._model.crashes_at(job, self._attempts.get(job, 0))
        crashed = math.inf if share is None else share * runtime
        left = self._taken[worker] - start
        if crashed <= charged and crashed <= left:
            return Loss(crashed, True, f"worker {worker} crashed after {crashed!r} s of this attempt, {SOURCE}")
        if left < charged and self._taken[worker] < start + charged:
            return Loss(left, False, f"worker {worker} was taken away after {left!r} s of this attempt, {SOURCE}")
        return None

    def lose(self, job: int, runtime: float, limit: float | None) -> Loss | None:
        """Return the same, and note that the job will be lost, unless it is stopped before."""
        loss = self.loss(job, runtime, limit)
        if loss is not None:
            self._losing[job] = loss.crash
        return loss

    def spare(self, job: int) -> None:
        """Note that a job was stopped before its worker was lost."""
        self._losing.pop(job, None)

    def ended(self, job: int, worker: int) -> None:
        """A job ended, when `since` says; its worker is idle, or begins its next life."""
        self._used[worker] = self._life[worker]
        crash = self._losing.pop(job, None)
        if crash is None:
            self.append(worker)
            return
        self.lost.add(job)
        if crash:
            self._begin(worker, self._since[worker])
        else:
            self._begin_after(worker)
        heappush(self._idle, (self._since[worker], 1, worker, worker))

    def again(self, job: int) -> bool:
        """Note that a job has another attempt; return whether the one before was lost with its worker."""
        self._attempts[job] = self._attempts.get(job, 0) + 1
        was_lost = job in self.lost
        self.lost.discard(job)
        return was_lost

    # Lives.

    def _begin(self, worker: int, at: float) -> None:
        """Begin the next life of a worker."""
        model = self._model
        life = self._life[worker] = self._life[worker] + 1
        delay = 0.0 if model.start_delay is None else model.start_delay.draw("start_delay", worker, life)
        self._since[worker] = at + delay
        if model.preempted_after is not None:
            self._taken[worker] = self._since[worker] + model.preempted_after.draw("preempted_after", worker, life)
            if life - self._used[worker] > MOST_LIVES:
                raise SimulationError(
                    f"Worker {worker} was taken away {MOST_LIVES:,} times without a job, at last at {at!r} s: with "
                    f"{model.preempted_after!r} it is hardly ever there. Give longer times, in the runtimes' unit."
                )

    def _begin_after(self, worker: int) -> None:
        """Begin the life of a worker that follows the one at whose end it was taken away."""
        away = self._model.away
        gone = 0.0 if away is None else away.draw("away", worker, self._life[worker])
        self._begin(worker, self._taken[worker] + gone)

    # The state.

    def state(self) -> dict[str, Any]:
        return {
            "idle": [list(entry) for entry in sorted(self._idle)],
            "life": list(self._life),
            "used": list(self._used),
            "taken": [None if math.isinf(value) else value for value in self._taken],
            "order": self._order,
            "attempts": list(self._attempts.items()),
            "losing": list(self._losing.items()),
            "lost": sorted(self.lost),
        }

    def restore(self, state: dict[str, Any], since: list[float]) -> None:
        self._since = since
        self._idle = [(there, kind, order, worker) for there, kind, order, worker in state["idle"]]
        self._life, self._used = list(state["life"]), list(state["used"])
        self._taken = [math.inf if value is None else value for value in state["taken"]]
        self._order = state["order"]
        self._attempts, self._losing = dict(state["attempts"]), dict(state["losing"])
        self.lost = set(state.get("lost", ()))  # states of earlier versions lack it
