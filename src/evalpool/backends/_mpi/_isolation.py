"""Runs a run-function in a supervised child of this process, which is a worker as of the process backend."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from evalpool.backends._pool._isolated import TICK, Helper, end_idle
from evalpool.outcomes import WorkerFailure

__all__ = ["Isolated"]


class Isolated:
    """Calls a function in a child process, so that a crash or a timeout costs only the child. One call at a time.

    The child is a fresh interpreter without MPI: the run-function must not use the rank's communicators.
    """

    def __init__(self, function: Callable[..., Any], kwargs: dict[str, Any], exit_timeout: float) -> None:
        self._function = functools.partial(function, **kwargs) if kwargs else function  # sent once
        self._exit_timeout = exit_timeout
        self._helper: Helper | None = None

    def prepare(self, channel: Any) -> None:
        """Start the child now, so that its start counts for no job."""
        if self._helper is None:
            helper = Helper(self._function)
            try:
                helper.prepare(channel)
            except Exception:  # noqa: BLE001  if the function cannot be pickled, each call reports that
                helper.close()
            else:
                self._helper = helper

    def __call__(self, job: Any, **kwargs: Any) -> Any:
        helper, self._helper = self._helper or Helper(self._function), None
        alive = False
        try:
            outcome, _, alive = helper.call(job, kwargs, None, TICK)
        finally:
            if alive:
                self._helper = helper
            else:
                helper.close()
        if not alive and not job._channel.gone:  # `gone`: no job follows
            self.prepare(job._channel)
        if outcome.kind is not None:
            raise WorkerFailure(outcome)
        if outcome.metadata:
            job.metadata.update(outcome.metadata)
        return outcome.objective

    def _evalpool_release(self) -> None:
        """End the child, which has no job."""
        if self._helper is not None:
            end_idle([self._helper], self._exit_timeout)
            self._helper = None
