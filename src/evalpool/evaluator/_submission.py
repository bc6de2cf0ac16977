"""Makes ready jobs of configurations: takes numbers, records the jobs, then queues them; all of them or none.

An interrupt may come before or during any of these steps. If it comes before the jobs are recorded, none is submitted,
and the next submission uses their numbers. If it comes later, all are submitted: the storage may have them although
its answer did not arrive, so they are recorded once more, which has no effect if it has them, and queued.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from evalpool._interrupts import allow_signals, defer_signals, from_a_handler
from evalpool._json import jsonable
from evalpool.errors import BadArgument, EvaluatorClosed
from evalpool.evaluator._numbers import Numbers
from evalpool.evaluator._settings import check_configurations
from evalpool.jobs._job import Job
from evalpool.jobs._options import NO_OPTIONS, JobOptions, Submission
from evalpool.outcomes import FailureKind, failed

if TYPE_CHECKING:
    from evalpool.evaluator._core import Core
    from evalpool.evaluator._fence import Fence
    from evalpool.evaluator._gathering import Gathering
    from evalpool.evaluator._hook_queue import HookQueue
    from evalpool.evaluator._open_search import OpenSearch
    from evalpool.evaluator._recorder import Recorder
    from evalpool.evaluator._timeline import Timeline, Times
    from evalpool.jobs._inbox import Inbox

__all__ = ["Submissions"]


class Submissions:
    """Takes submissions, in the caller's thread; several threads may submit at the same time.

    Args:
        evaluator: the jobs' evaluator.
        times: tells the time.
        timeline: of simulated time, or None.
        start: starts the engine; each submission calls it until `core.started`.
        expect_deadlines: called before a job with its own time limit is queued.

    Attributes:
        is_wanted: asked of jobs that have been recorded, whether they shall run; None if all do. Those that shall not
            end as CANCELLED.
        numbers: gives the jobs' numbers, and has the cap.
        accept, accept_last_chances: ``(jobs, inbox)``: queue jobs that are recorded.
    """

    def __init__(
        self,
        evaluator: Any,
        search: OpenSearch,
        core: Core,
        times: Times,
        *,
        recorder: Recorder,
        hooks: HookQueue,
        fence: Fence,
        gathering: Gathering,
        timeline: Timeline | None,
        start: Callable[[], None],
        expect_deadlines: Callable[[], None],
    ) -> None:
        self._evaluator = evaluator
        self._search, self._search_id, self._job_type = search, search.search_id, search.job_type
        self._to_json = search.needs_json
        self._durable = search.storage.durable
        self._core = core
        self._now = times.now
        self._recorder, self._hooks, self._fence, self._gathering = recorder, hooks, fence, gathering
        self._timeline = timeline
        # In simulated time, the timeline decides when a job runs.
        self.accept = core.accept if timeline is None else timeline.accept
        self.accept_last_chances = core.accept_last_chances if timeline is None else timeline.accept_last_chances
        self._start = start
        self._expect_deadlines = expect_deadlines
        self._lock = threading.RLock()  # for submissions under a cap
        self.numbers = Numbers(search)
        self.is_wanted: Callable[[list[Job[Any]]], bool] | None = None

    def submit(self, configurations: Iterable[dict[str, Any] | Submission], inbox: Inbox) -> list[Job[Any]]:
        """As `Evaluator.submit`; the results go to `inbox`."""
        core, name = self._core, type(self._evaluator).__name__
        if core.closed:
            raise EvaluatorClosed(f"This {name} is closed; make a new one to submit more jobs.")
        if type(configurations) is not list and (
            isinstance(configurations, (dict, str)) or not isinstance(configurations, Iterable)
        ):
            raise BadArgument(
                f"submit got {configurations!r} of type {type(configurations).__name__}; give a list of dicts: "
                "submit([{'x': 1}])."
            )
        to_json = self._to_json
        options: dict[int, JobOptions] = {}
        checked = check_configurations(configurations, to_json, options)
        if self._timeline is not None:
            self._timeline.check(checked)
        if not core.started:
            self._start()
        if not checked:
            return []
        if to_json:
            jsonable(checked, "configurations")  # before any number is taken
        if self._durable:
            self._fence.take()
        if self._timeline is not None:
            with self._timeline.lock:
                jobs = self._enter(checked, options, inbox)
        elif self.numbers.cap is None:
            jobs = self._enter(checked, options, inbox)
        else:  # one submission at a time: see `evalpool.storage._abandoned`
            with self._lock:
                jobs = self._enter(checked, options, inbox)
        if self._core.closed:  # by another thread meanwhile, which may not have seen these jobs
            core.stops.end_all(FailureKind.CANCELLED, "the evaluator was closed")
        if self._hooks.notices or self._recorder.noted:
            self._gathering.tell_notices()
        return jobs

    def _enter(
        self, configurations: list[dict[str, Any]], options: dict[int, JobOptions], inbox: Inbox
    ) -> list[Job[Any]]:
        """Make jobs of checked configurations, record and queue them. If that raises an error, none is submitted.

        Args:
            options: of the configurations that have any, by the `id` of the configuration.
        """
        first: int | None = None
        recording = False
        jobs: list[Job[Any]] = []
        recorder, hooks = self._recorder, self._hooks
        try:
            first = self.numbers.take(len(configurations))
            evaluator, search, job_type, now = self._evaluator, self._search_id, self._job_type, self._now()
            jobs = [
                Job(evaluator, inbox, search, number, configuration, job_type, now)
                for number, configuration in enumerate(configurations, first)
            ]
            if options:
                for job in jobs:
                    self.take_options(job, options.get(id(job.args), NO_OPTIONS))
            with defer_signals():
                recording = True
                if recorder.keeps:
                    recorder.created(jobs)
                if self.is_wanted is not None:
                    with allow_signals():
                        wanted = self.is_wanted(jobs)
                    if not wanted:
                        self._withdraw(jobs, inbox)
                        return jobs
                if hooks.on_launch:
                    with allow_signals():
                        for job in jobs:
                            hooks.call("on_launch", job)
                self.accept(jobs, inbox)
        except BaseException as error:
            if isinstance(error, Exception) and not from_a_handler(error):
                raise  # an error of the storage means that it does not have the jobs
            with defer_signals():
                if recording and not self._are_queued(jobs):
                    recorder.created_again(jobs)
                    self.accept(jobs, inbox)
                elif first is not None and not recording:
                    self.numbers.spare.append((first, len(configurations)))
            raise
        return jobs

    def _withdraw(self, jobs: list[Job[Any]], inbox: Inbox) -> None:
        """End jobs that nobody wants to run, though they are recorded."""
        outcome = failed(FailureKind.CANCELLED, "another program evaluates this configuration")
        self._core.accept_ended([(job, outcome) for job in jobs], inbox)
        self._recorder.outcomes(jobs)

    def take_options(self, job: Job[Any], options: JobOptions) -> None:
        """Give a job its options, before it is queued. The first time limit makes the evaluator keep deadlines."""
        if options is not NO_OPTIONS:
            job.options = options
            if options.job_timeout and self._timeline is None:
                self._expect_deadlines()

    def _are_queued(self, jobs: list[Job[Any]]) -> bool:
        """Whether these jobs are queued already. They are queued together, so it is enough to look at the last one."""
        last = jobs[-1]
        if self._timeline is not None:
            return last._outcome is not None or self._timeline.has(last)
        with self._core.lock:
            return last._outcome is not None or last.attempts > 0 or last in self._core.ledger.scheduler
