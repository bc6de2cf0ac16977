"""Objectives and callers for the tests of the simulated wrapper; importable, for spawned processes need them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

SENTINEL = float(1 << 30)

# Runtimes and the ends that follow, as mfhpo-simulator's own tests draw them:
#
# worker-0: -------------------|-|---|---|---|---|---|---|---|---|-----|
#           1000              100 200 200 200 200 200 200 200 200 300
# worker-1: -----|-----|-----|-----|-----------|-----|---|-----------|-------|
#           300   300   300   300   600         300   200 600         400
TWO = [1000, 300, 300, 300, 300, 100, 200, 600, 200, 200, 200, 300, 200, 200, 200, 600, 200, 200, 300, 400]
TWO_ENDS = [300, 600, 900, 1000, 1100, 1200, 1300, 1500, 1700, 1800, 1900, 2100, 2100, 2300, 2300, 2500, 2700, 2900,
            3000, 3300]  # fmt: skip
# worker-0: -------------------|-----|-----|
#           1000                300   300
# worker-1: -------|-------|-------|-------|
#           400     400     400     400
# worker-2: -----|-----|-----|-----|-----|
#           300   300   300   300   300
# worker-3: ---|---|---|---|---|---|---|-|
#           200 200 200 200 200 200 200 100
FOUR = [1000, 400, 300, 200, 200, 300, 400, 200, 200, 300, 200, 400, 300, 200, 300, 200, 300, 400, 300, 100]
FOUR_ENDS = [200, 300, 400, 400, 600, 600, 800, 800, 900, 1000, 1000, 1200, 1200, 1200, 1300, 1400, 1500, 1500, 1600,
             1600]  # fmt: skip


def in_line(eval_config: dict[str, Any], fidels: Any = None, seed: Any = None) -> dict[str, float]:
    """The runtime stands in the configuration."""
    return {"loss": eval_config["x"], "runtime": eval_config["runtime"]}


def by_worker(worker: int, number: int) -> dict[str, float]:
    """What a worker's n-th call brings: dyadic, with ties and zeros."""
    return {"x": worker * 1000 + number, "runtime": ((worker * 7 + number * 5) % 9) / 4}


def declared(worker: int, number: int) -> float:
    return ((worker + number) % 3) / 8


def call_until_the_end(wrapper: Any, worker: int, limit: int = 1000) -> list[dict[str, Any]]:
    """What a worker of an optimiser does."""
    results = []
    for number in range(limit):
        result = wrapper(by_worker(worker, number))
        if result["loss"] >= SENTINEL:
            return results
        results.append(result)
    raise AssertionError("the calls never returned the sentinel")


class Tasks:
    """Configurations for whichever thread is free next."""

    def __init__(self, runtimes: list[int]) -> None:
        self._runtimes = runtimes
        self._next = 0
        self._lock = threading.Lock()

    def take(self) -> dict[str, float]:
        with self._lock:
            index = min(self._next, len(self._runtimes) - 1)
            self._next += 1
        return {"x": index, "runtime": float(self._runtimes[index])}


def work_off(wrapper: Any, tasks: Tasks) -> None:
    while wrapper(tasks.take())["loss"] < SENTINEL:
        pass


def in_threads(functions: list[Callable[[], Any]], within: float = 60.0) -> list[Any]:
    """Run each in a thread of its own; what they return, or the exception they raise. Bounded."""
    outcomes: list[Any] = [None] * len(functions)

    def run(index: int) -> None:
        try:
            outcomes[index] = functions[index]()
        except BaseException as error:
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(within)
        assert not thread.is_alive(), "a caller hangs"
    return outcomes


def die() -> None:
    """As the kernel kills: no cleaning up."""
    os.kill(os.getpid(), signal.SIGKILL)
