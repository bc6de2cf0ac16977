"""The configurations of a file, each evaluated once, however many programs continue the search at the same time.

Before a program evaluates the next one, it reads which numbers are taken and which configurations they have, and then
takes the next number only if no other program has taken one meanwhile. If two try, one gets it, the other reads again.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from evalpool._clock import monotonic
from evalpool.jobs._options import NO_OPTIONS, JobOptions, Submission
from evalpool.outcomes import JobStatus
from evalpool.search._random_search import configuration_key

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.jobs._job import Job

__all__ = ["Given", "Listed", "SharedList", "configuration_of", "missing_of", "options_of"]

PAUSE, GIVE_UP_AFTER = 0.02, 5.0
"""Seconds between two looks for the job of a number that is taken, and until its client is assumed dead."""

_CANCELLED = (JobStatus.CANCELLED, JobStatus.CANCELLING)


Given: TypeAlias = "dict[str, Any] | Submission"
"""A configuration, with or without options of its job."""


class Listed:
    """Asks for the configurations of a list, one after the other; those of a higher priority first."""

    def __init__(self, configurations: list[Given]) -> None:
        self._rest = iter(_by_priority(configurations))

    def ask(self) -> Given:
        return next(self._rest)

    def tell(self, job: Job[Any]) -> None:
        """Do nothing: the order does not depend on results."""


class SharedList(Listed):
    """A `Listed` for a search in a storage, where other programs may evaluate the same file.

    Attributes:
        missing: the configurations that no program had taken at the last look.
    """

    def __init__(self, evaluator: Evaluator, configurations: list[Given]) -> None:
        self._evaluator = evaluator
        self._configurations = _by_priority(configurations)
        self._submitted = -1
        self._taken = 0
        self._waited_for: dict[int, float] = {}  # how many numbers had no job -> since when
        self.missing: list[Given] = []
        self.look()

    def look(self) -> None:
        """Read again which configurations are taken."""
        evaluator = self._evaluator
        pause = threading.Event()
        while True:
            taken = evaluator.storage.reserve(evaluator.search_id, 0)
            records = evaluator.storage.records(evaluator.search_id)
            unrecorded = taken - len(records)
            if unrecorded <= 0 or self._are_lost(unrecorded):
                break
            pause.wait(PAUSE)  # another program has taken a number and is about to record its job
        self._taken = taken
        self.missing = missing_of(self._configurations, records)

    @property
    def was_refused(self) -> bool:
        """Whether another program was faster to take the number for the last configuration; then look again."""
        return self._submitted == self._evaluator.num_jobs_submitted

    def _are_lost(self, unrecorded: int) -> bool:
        since = self._waited_for.setdefault(unrecorded, monotonic())
        return monotonic() - since > GIVE_UP_AFTER

    def ask(self) -> Given:
        evaluator = self._evaluator
        if not self.missing:
            self._submitted = -1
            evaluator.set_maximum_num_jobs_submitted(0)  # the loop ends when it is refused a job
            return {}
        evaluator.set_maximum_num_jobs_submitted(self._taken + 1)
        self._submitted = evaluator.num_jobs_submitted
        self._taken += 1
        return self.missing.pop(0)


def configuration_of(given: Given) -> dict[str, Any]:
    """The configuration, without options."""
    return given.configuration if isinstance(given, Submission) else given


def options_of(given: Given) -> JobOptions:
    """The options of its job."""
    return given.options if isinstance(given, Submission) else NO_OPTIONS


def _by_priority(configurations: list[Given]) -> list[Given]:
    return sorted(configurations, key=lambda given: -options_of(given).priority)


def missing_of(configurations: list[Given], records: list[Any]) -> list[Given]:
    """The configurations that no job of these records has evaluated or will evaluate; costs the length of both."""
    known = Counter(configuration_key(record.configuration) for record in records if record.status not in _CANCELLED)
    missing = []
    for given in configurations:
        key = configuration_key(configuration_of(given))
        if known[key]:
            known[key] -= 1
        else:
            missing.append(given)
    return missing
