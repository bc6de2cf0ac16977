"""Configurations, each evaluated once, however many programs continue the search, or retry it, at the same time.

Before a program evaluates the next one, it reads which numbers are taken and which configurations they have, and then
takes the next number only if no other program has taken one meanwhile. If two try, one gets it, the other reads again.

A program may end, or be stopped (SIGSTOP, a suspended laptop), after it took a number and before it recorded the job.
The others wait for some seconds, and then assume that the number has no job. So a program that was slow, or that finds
a job where it assumed none, reads again when its own job is recorded and has not begun: if its configuration is there
more often than in the file, it cancels its job, and later looks whether the configuration is missing. Of two records
one comes later, and the program that wrote it sees the other one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Container
from typing import TYPE_CHECKING, Any, TypeAlias

from evalpool._clock import awake_or_not
from evalpool.errors import UnknownJob
from evalpool.jobs._options import NO_OPTIONS, JobOptions, Submission
from evalpool.outcomes import JobStatus
from evalpool.search._random_search import configuration_key

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.jobs._job import Job
    from evalpool.models import JobRecord

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
    """A `Listed` for a search in a storage, where other programs may evaluate the same configurations.

    Args:
        earlier: numbers of jobs that do not count, whose configurations are to be evaluated again.

    Attributes:
        missing: the configurations that no program had taken at the last look.
    """

    def __init__(self, evaluator: Evaluator, configurations: list[Given], earlier: Container[int] = ()) -> None:
        self._evaluator = evaluator
        self._earlier = earlier
        self._configurations = _by_priority(configurations)
        self._submitted = -1
        self._taken = 0
        self._without_job: dict[int, float] = {}  # numbers that are taken -> since when that is known
        self._asked = 0.0  # when, by a clock that goes on in a suspended laptop
        self._withdrew = False
        self.missing: list[Given] = []
        self.look()
        evaluator._submissions.numbers.is_exact = True
        evaluator._submissions.is_wanted = self._is_wanted

    def look(self) -> None:
        """Read again what is taken."""
        self._withdrew = False
        self._taken, records = self._read()
        self.missing = missing_of(self._configurations, [record for record in records if self._counts(record)])

    def _read(self) -> tuple[int, list[JobRecord]]:
        """Return how many numbers are taken, and their jobs' records; wait for those that may still be recorded."""
        evaluator = self._evaluator
        pause = threading.Event()
        while True:
            now = awake_or_not()  # before it is read: this program may stand still, too
            taken = evaluator.storage.reserve(evaluator.search_id, 0)
            records = evaluator.storage.records(evaluator.search_id)
            known = {record.number for record in records}
            before = self._without_job
            self._without_job = {number: before.get(number, now) for number in range(taken) if number not in known}
            if all(now - since > GIVE_UP_AFTER for since in self._without_job.values()):
                return taken, records
            pause.wait(PAUSE)  # another program has taken a number and is about to record its job

    @property
    def must_look_again(self) -> bool:
        """Whether another program was faster to take what was asked for last."""
        return self._withdrew or self._submitted == self._evaluator.num_jobs_submitted

    def _is_wanted(self, jobs: list[Job[Any]]) -> bool:
        """Whether recorded jobs of this program shall run: no other program evaluates their configurations."""
        if awake_or_not() - self._asked <= GIVE_UP_AFTER / 2 and not any(map(self._has_job, self._without_job)):
            return True
        left = Counter(configuration_key(configuration_of(given)) for given in self._configurations)
        left.subtract(configuration_key(record.configuration) for record in self._read()[1] if self._counts(record))
        self._withdrew = any(left[configuration_key(job.args)] < 0 for job in jobs)
        return not self._withdrew

    def _counts(self, record: JobRecord) -> bool:
        return record.number not in self._earlier and _counts(record)

    def _has_job(self, number: int) -> bool:
        evaluator = self._evaluator
        try:
            evaluator.storage.load_record(f"{evaluator.search_id}.{number}")
        except UnknownJob:
            return False
        return True

    def ask(self) -> Given:
        evaluator = self._evaluator
        if not self.missing:
            self._submitted = -1
            evaluator.set_maximum_num_jobs_submitted(0)  # the loop ends when it is refused a job
            return {}
        self._asked = awake_or_not()
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


def _counts(record: JobRecord) -> bool:
    """Whether this job was evaluated or will be."""
    return record.status not in _CANCELLED


def missing_of(configurations: list[Given], records: list[Any]) -> list[Given]:
    """Those that no job of these records has evaluated or will; costs both."""
    known = Counter(configuration_key(record.configuration) for record in records if _counts(record))
    missing = []
    for given in configurations:
        key = configuration_key(configuration_of(given))
        if known[key]:
            known[key] -= 1
        else:
            missing.append(given)
    return missing
