"""The configurations of a file, each evaluated once, however many programs go on with the search at the same time.

Whoever wants to evaluate the next one reads which numbers are taken and which configurations they have, and then takes
the next number only if nobody has taken one meanwhile. Of two programs one gets it, the other reads again.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool.outcomes import JobStatus
from evalpool.search._random_search import configuration_key

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.jobs._job import Job

__all__ = ["Listed", "SharedList", "missing_of"]

PAUSE, PATIENCE = 0.02, 5.0
"""Seconds between two looks for the job of a number that is taken, and until its client counts as dead."""

_CANCELLED = (JobStatus.CANCELLED, JobStatus.CANCELLING)


class Listed:
    """Asks for the configurations of a list, one after the other."""

    def __init__(self, configurations: list[dict[str, Any]]) -> None:
        self._rest = iter(configurations)

    def ask(self) -> dict[str, Any]:
        return next(self._rest)

    def tell(self, job: Job[Any]) -> None:
        """Results change nothing."""


class SharedList(Listed):
    """As `Listed`, of the file of a search in a storage in which others may work on the same file.

    Attributes:
        missing: those that nobody has taken as far as is known.
    """

    def __init__(self, evaluator: Evaluator, configurations: list[dict[str, Any]]) -> None:
        self._evaluator = evaluator
        self._configurations = configurations
        self._submitted = -1
        self._taken = 0
        self._waited_for: dict[int, float] = {}  # since when; by how many numbers had no job
        self.missing: list[dict[str, Any]] = []
        self.look()

    def look(self) -> None:
        """Read again what is taken."""
        evaluator = self._evaluator
        pause = threading.Event()
        while True:
            taken = evaluator.storage.reserve(evaluator.search_id, 0)
            records = evaluator.storage.records(evaluator.search_id)
            unrecorded = taken - len(records)
            if unrecorded <= 0 or self._are_lost(unrecorded):
                break
            pause.wait(PAUSE)  # somebody has taken a number and is about to record its job
        self._taken = taken
        self.missing = missing_of(self._configurations, records)

    @property
    def was_refused(self) -> bool:
        """Was another program faster for the number of what was asked for last? Then look again and go on."""
        return self._submitted == self._evaluator.num_jobs_submitted

    def _are_lost(self, unrecorded: int) -> bool:
        since = self._waited_for.setdefault(unrecorded, monotonic())
        return monotonic() - since > PATIENCE

    def ask(self) -> dict[str, Any]:
        evaluator = self._evaluator
        if not self.missing:
            self._submitted = -1
            evaluator.set_maximum_num_jobs_submitted(0)  # the loop ends when it is refused a job
            return {}
        evaluator.set_maximum_num_jobs_submitted(self._taken + 1)
        self._submitted = evaluator.num_jobs_submitted
        self._taken += 1
        return self.missing.pop(0)


def missing_of(configurations: list[dict[str, Any]], records: list[Any]) -> list[dict[str, Any]]:
    """Those that no job of these records has evaluated or will; costs both."""
    known = Counter(configuration_key(record.configuration) for record in records if record.status not in _CANCELLED)
    missing = []
    for configuration in configurations:
        key = configuration_key(configuration)
        if known[key]:
            known[key] -= 1
        else:
            missing.append(configuration)
    return missing
