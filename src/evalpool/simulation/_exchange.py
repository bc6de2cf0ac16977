"""The short way through a coordinator, for nearly every result: one step of the kernel, one line, one reply.

::

    caller A, whom all others wait for ── result ──► exchange ──► the earliest end, A's or another's: line, reply
                                                        └──► anything special? the coordinator's own way, step by step

Evaluations are strictly one after the other, so while others wait, this is all that happens between two of them. Step
by step the same took twice as long. Both ways lead to the same state, log and replies: a test compares them.
"""

from __future__ import annotations

from typing import Any

from evalpool._clock import monotonic, unix_time
from evalpool.jobs._seeds import Seeds
from evalpool.simulation._caller import Call, Caller
from evalpool.simulation._files import CompletionLog, completion
from evalpool.simulation._places import Places
from evalpool.simulation._run import Released, Result, RunSettings
from evalpool.simulation._turns import CallerKernel

__all__ = ["Exchange"]


class Exchange:
    """The short way; it works on the parts of a coordinator, under its lock.

    Args:
        settings: of the run.
        kernel, places, log, seed_of: the coordinator's.
        started: when the run began, in seconds since the epoch.
        calls: the calls by job, from their first message to their release.
        waiting: those that wait for a reply, the oldest first.
    """

    __slots__ = ("_calls", "_kernel", "_log", "_places", "_seed_of", "_settings", "_started", "_waiting")

    def __init__(
        self,
        settings: RunSettings,
        kernel: CallerKernel,
        places: Places,
        log: CompletionLog,
        seed_of: Seeds,
        started: float,
        calls: dict[int, Call],
        waiting: dict[int, Call],
    ) -> None:
        self._settings = settings
        self._kernel = kernel
        self._places = places
        self._log = log
        self._seed_of = seed_of
        self._started = started
        self._calls = calls
        self._waiting = waiting

    def take(self, caller: Caller, overhead: float, wall: float, result: Result) -> bool:
        """Take a result, release the call that is next, and reply to it. False if that is not all there is to do;
        nothing has changed then.
        """
        runtime, failed, text = result
        job, kernel, places, calls = caller.job, self._kernel, self._places, self._calls
        if failed or job < self._settings.num_callers or places.orphaned:
            return False
        exchanged = kernel.exchange(job, overhead, runtime)
        if exchanged is None:
            return False
        before, after, released, turn = exchanged
        now = monotonic()
        call = Call(caller, overhead, wall, caller.seed)
        call.before, call.after, call.result = before, after, result
        places.brought[caller.worker] += 1
        if released != job:
            call.waits_since = now
            calls[job] = self._waiting[job] = call
            call = calls.pop(released)
            del self._waiting[released]
            call.waits_since = None
            receiver: Any = call.caller
            assert call.result is not None
            runtime, _, text = call.result
        else:
            receiver = caller
        seed = self._seed_of(turn)
        self._log.write(
            completion(
                job=released,
                worker=receiver.worker,
                before=call.before,
                after=call.after,
                end=kernel.clock,
                charged=runtime,
                wall=call.wall,
                seed=call.seed,
                failed=False,
                text=text,
                actual=unix_time() - self._started if self._settings.store_actual_cumtime else None,
            )
        )
        receiver.job, receiver.seed, receiver.thinks_since = turn, seed, now
        receiver.deliver(Released(runtime, seed, False))
        return True
