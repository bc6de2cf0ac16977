"""The parts of an evaluator, made in the order in which they need each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from evalpool._log import get_logger
from evalpool.evaluator._back_off import BackOff
from evalpool.evaluator._core import Core
from evalpool.evaluator._fence import Fence
from evalpool.evaluator._first_failures import FirstFailures
from evalpool.evaluator._foreign_jobs import ForeignJobs
from evalpool.evaluator._gathering import Gathering
from evalpool.evaluator._hook_queue import HookQueue
from evalpool.evaluator._job_events import JobEvents
from evalpool.evaluator._ledger import JobLedger
from evalpool.evaluator._recorder import Recorder, recorder_for
from evalpool.evaluator._resume import Resumption
from evalpool.evaluator._running_attempts import RunningAttempts
from evalpool.evaluator._stop_control import StopControl
from evalpool.evaluator._submission import Submissions
from evalpool.evaluator._timeline import EvaluatorAccess, RealTime, Timeline, Times
from evalpool.evaluator._waiting import Waiting
from evalpool.evaluator._watchdog import Watchdog
from evalpool.evaluator._watching import Watching

if TYPE_CHECKING:
    from evalpool.evaluator._backend import Backend
    from evalpool.evaluator._membership import Membership
    from evalpool.evaluator._open_search import OpenSearch
    from evalpool.evaluator._scheduler import Resources
    from evalpool.outcomes import FailureKind

__all__ = ["Parts", "assemble"]

logger = get_logger()


class Parts(NamedTuple):
    """The parts of an evaluator, besides its search and its engine; see docs/architecture.md."""

    core: Core
    timers: Watchdog
    hooks: HookQueue
    recorder: Recorder
    fence: Fence
    times: Times
    attempts: RunningAttempts
    foreign_jobs: ForeignJobs
    gathering: Gathering
    waiting: Waiting
    submissions: Submissions
    resumption: Resumption


def assemble(
    evaluator: Any,
    search: OpenSearch,
    backend: Backend,
    *,
    num_workers: int,
    callbacks: list[Any],
    job_timeout: float | None,
    retries: Mapping[FailureKind, int],
    stopper: Any,
    raises: bool,
    grace: float,
    resources: Resources | None,
    timeline: Timeline | None,
    membership: Membership | None,
    start: Callable[[], None],
    expect_deadlines: Callable[[], None],
) -> Parts:
    """Make the parts of `evaluator`. Each argument is documented by the part that takes it."""
    name, durable = type(evaluator).__name__, search.storage.durable
    timers, hooks, back_off = Watchdog(f"evalpool-deadlines-{search.owner[:6]}"), HookQueue(callbacks), BackOff()
    # In simulated time, the timeline lends the resources and enforces the jobs' time limits.
    lent = resources if timeline is None else None
    ledger = JobLedger(num_workers, retries=retries, job_timeout=job_timeout, resources=lent)
    core = Core(ledger, backend, name=name, timeline=timeline, has_stopper=stopper is not None)
    core.stops = StopControl(
        core, backend, timers.after, name=name, origin=search.origin, grace=grace,
        may_suspend=durable and (timeline is None or timeline.can_suspend),
    )  # fmt: skip
    times = RealTime(search.origin, _describer(resources)) if timeline is None else timeline

    def is_isolated() -> bool:
        return backend.jobs_are_isolated

    fence = Fence(
        search, core, timers.after, back_off=back_off, may_await=timeline is None or timeline.may_await,
        is_isolated=is_isolated,
    )  # fmt: skip
    recorder = fence.recorder = recorder_for(
        search, JobEvents(search, times), back_off, fence, core.held,
        ledger.running_jobs if timeline is None else timeline.running_jobs,
    )  # fmt: skip
    if recorder.unrecorded is not None:
        core.unrecorded, core.record, core.leave = recorder.unrecorded, recorder.outcomes, fence.leave
    watching = Watching(stopper, recorder, hooks, search.storage)
    foreign_jobs = ForeignJobs(search, hooks, back_off, fence.is_ours)
    if membership is not None:
        foreign_jobs.is_due = lambda: membership.due(core.num_gathered, core.inbox.outstanding)
    gathering = Gathering(
        search, core, times, recorder=recorder, fence=fence, hooks=hooks, foreign_jobs=foreign_jobs,
        first_failures=FirstFailures(callbacks),
    )  # fmt: skip
    waiting = Waiting(
        core, backend, gathering, recorder=recorder, hooks=hooks, fence=fence, after=timers.after, raises=raises,
        timeline=timeline,
    )  # fmt: skip
    submissions = Submissions(
        evaluator, search, core, times, recorder=recorder, hooks=hooks, fence=fence, gathering=gathering,
        timeline=timeline, start=start, expect_deadlines=expect_deadlines,
    )  # fmt: skip
    resumption = Resumption(
        evaluator, search, core, recorder=recorder, fence=fence, foreign_jobs=foreign_jobs, submissions=submissions,
        start=start, is_isolated=is_isolated,
    )  # fmt: skip
    if timeline is not None:
        ledger.own_limits = False
        timeline.attach(
            EvaluatorAccess(
                name=name,
                core=core,
                resources=resources,
                wait=waiting.wait,
                give_back=lambda: waiting.finish(core.inbox),
                watching=watching,
            )
        )
    attempts = RunningAttempts(core, watching, timeline, search.origin)
    return Parts(
        core, timers, hooks, recorder, fence, times, attempts, foreign_jobs, gathering, waiting, submissions, resumption
    )


def _describer(resources: Resources | None) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that describes lent resources for a job's metadata. Its errors are logged and stop nothing."""

    def describe(extra: dict[str, Any]) -> dict[str, Any]:
        if resources is None:
            return {}
        try:
            return resources.describe(extra)
        except Exception:
            logger.exception("%r.describe raised; the job's metadata do not say which resources it had.", resources)
            return {}

    return describe
