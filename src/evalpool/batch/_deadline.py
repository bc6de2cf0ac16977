"""The end of the batch allocation in which this program runs, and how to stop in time.

A batch system tells when a job ends, in the job's environment or by a command. At the end it sends SIGTERM and, a
little later, SIGKILL. A search that has stopped by then loses no result.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import Any

from evalpool._checks import is_real
from evalpool._clock import monotonic, unix_time
from evalpool._interrupts import end_by_signal, replace_handler
from evalpool._launchers import child_environment
from evalpool._log import get_logger
from evalpool.errors import BadArgument

__all__ = ["Deadline", "stops_on_sigterm"]

logger = get_logger()

ASK_WITHIN = 10.0
"""Seconds that a batch system may take to answer."""
RECENT = 64
"""How many recent jobs are used to estimate the duration of the next one."""
USUAL = 0.9
"""The share of recent jobs that took no longer than the usual duration."""


class Deadline:
    """A time after which no job may run; it tells whether another job still fits before it.

    >>> deadline = Deadline(3600, margin=60)
    >>> 3530 < deadline.time_left <= 3540
    True

    Use it to feed a search, or set an evaluator's time budget to it::

        deadline = Deadline.of_allocation(margin=120)
        evaluator.timeout = deadline
        while deadline.fits():
            ...submit, gather...
            deadline.learn(jobs)

    With a durable storage, jobs that have not ended by then are left to be resumed: see `Evaluator.suspend`.

    Args:
        seconds: from now.
        margin: seconds before the end that are reserved for the program's last steps, such as plots.

    Raises:
        BadArgument: `seconds` or `margin` is not a number of 0 or more.
    """

    def __init__(self, seconds: float, *, margin: float = 0.0) -> None:
        for name, value in (("seconds", seconds), ("margin", margin)):
            if not is_real(value) or not value >= 0:
                raise BadArgument(f"{name} is {value!r}; give seconds of 0 or more.")
        self._end = monotonic() + seconds - margin
        self._durations: deque[float] = deque(maxlen=RECENT)

    @classmethod
    def of_allocation(
        cls, *, margin: float = 60.0, environment: Mapping[str, str] | None = None, default: float | None = None
    ) -> Deadline:
        """Return the deadline of the batch job that this process belongs to.

        Uses ``SLURM_JOB_END_TIME``, else asks ``squeue`` for ``SLURM_JOB_ID`` (older Slurm), else ``qstat -f`` for
        ``PBS_JOBID``.

        Args:
            margin: as for the class.
            environment: used instead of this process's.
            default: seconds from now if there is no batch system; None to raise.

        Raises:
            BadArgument: no batch system tells an end, and there is no `default`.
        """
        rest = _seconds_left(os.environ if environment is None else environment)
        if rest is None:
            if default is None:
                raise BadArgument(
                    "No batch system tells when this job ends: there is no SLURM_JOB_END_TIME, and neither squeue nor "
                    "qstat knows it. Give seconds: Deadline(3600), or default=3600."
                )
            rest = default
        return cls(max(0.0, rest), margin=margin)

    @property
    def time_left(self) -> float:
        """Seconds until the deadline, without the margin; 0.0 when it has passed."""
        return max(0.0, self._end - monotonic())

    def __repr__(self) -> str:
        return f"<Deadline in {self.time_left:.0f} s>"

    def learn(self, jobs: Iterable[Any]) -> None:
        """Note how long these gathered jobs ran; jobs that never ran are ignored."""
        for job in jobs:
            start, end = job.metadata.get("timestamp_start"), job.metadata.get("timestamp_end")
            if start is not None and end is not None:
                self._durations.append(end - start)

    @property
    def usual_duration(self) -> float:
        """Seconds within which nine of ten recent jobs ended; 0.0 before the first job."""
        if not self._durations:
            return 0.0
        durations = sorted(self._durations)
        return durations[math.ceil(USUAL * len(durations)) - 1]

    def fits(self, jobs_ahead: int = 0, num_workers: int = 1) -> bool:
        """Whether one more job, of the usual duration, would end in time.

        Args:
            jobs_ahead: how many submitted jobs are not done yet and run before it.
            num_workers: how many workers run these jobs.
        """
        rounds = 1 + jobs_ahead // max(1, num_workers)
        rest = self.time_left
        return rest > 0.0 and rounds * self.usual_duration <= rest

    def feed(self, configurations: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield configurations as long as one more job fits, for `Evaluator.as_completed`. Pass its jobs to `learn`."""
        for configuration in configurations:
            if not self.fits():
                logger.info("%.0f s are left and a job usually takes %.0f s: no more are started.", self.time_left,
                            self.usual_duration)  # fmt: skip
                return
            yield configuration


def _seconds_left(environment: Mapping[str, str]) -> float | None:
    end = environment.get("SLURM_JOB_END_TIME", "")
    if re.fullmatch(r"\d+(\.\d+)?", end):
        return float(end) - unix_time()
    for variable, command, find in (
        ("SLURM_JOB_ID", ["squeue", "--noheader", "--format=%L", "--jobs"], _of_squeue),
        ("PBS_JOBID", ["qstat", "-f"], _of_qstat),
    ):
        job = environment.get(variable)
        if job:
            found = find(_answer([*command, job], environment.get("PATH")))
            if found is not None:
                return found
    return None


def _answer(command: list[str], path: str | None) -> str:
    """Return what a command of the batch system prints; empty if it does not exist or fails."""
    import shutil

    program = shutil.which(command[0], path=path)
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            text=True,
            timeout=ASK_WITHIN,
            stdin=subprocess.DEVNULL,
            env=child_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("%s does not answer: %s", command[0], error)
        return ""
    return done.stdout


def _of_squeue(text: str) -> float | None:
    """Read ``1-02:03:04``, ``2:03:04`` or ``03:04``."""
    return _clock(text.strip())


def _of_qstat(text: str) -> float | None:
    """Return the difference between the requested and the used time."""
    asked = re.search(r"Resource_List\.walltime\s*=\s*([\d:]+)", text)
    used = re.search(r"resources_used\.walltime\s*=\s*([\d:]+)", text)
    whole = _clock(asked.group(1)) if asked else None
    if whole is None:
        return None
    return whole - ((_clock(used.group(1)) or 0.0) if used else 0.0)


def _clock(text: str) -> float | None:
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds


@contextlib.contextmanager
def stops_on_sigterm(also: tuple[signal.Signals, ...] = ()) -> Iterator[threading.Event]:
    """Make SIGTERM end the block as a Ctrl-C would, once; the event tells whether it did.

    This works even if Ctrl-C is ignored, as in a background command of a job script or under nohup, or if the program
    has its own handler for it.

    For a search in a batch job: leaving the evaluator's ``with`` closes it, which stops the running jobs and records
    the finished ones. With a durable storage, every evaluator that is open when the signal comes is closed by
    `Evaluator.suspend` instead, so that `Evaluator.resume` runs the unfinished jobs. Worker processes of evaluators
    that are made inside the block ignore the signal: the search ends them. Only in the main thread.

    >>> with stops_on_sigterm() as told:
    ...     ...
    >>> told.is_set()
    False

    Args:
        also: other signals with the same effect. For example, ``--signal=USR1@120`` makes Slurm send SIGUSR1 two
            minutes before the end.

    Raises:
        SystemExit: at the end of the block, with 128 plus the signal's number, as a shell shows it. Inside the block it
            is a `KeyboardInterrupt`, wherever the main thread is.
    """
    global _heard_by_the_search
    told = threading.Event()
    which = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal which
        if not told.is_set():  # a second one must not disturb the clean end
            which = number
            told.set()
            end_by_signal(number)

    before = {number: replace_handler(number, stop) for number in (signal.SIGTERM, *also)}
    outer, _heard_by_the_search = _heard_by_the_search, tuple(map(int, before))
    try:
        yield told
    except KeyboardInterrupt:
        if not told.is_set():
            raise
        raise SystemExit(128 + which) from None
    finally:
        _heard_by_the_search = outer
        for number, handler in before.items():
            replace_handler(number, handler)


@contextlib.contextmanager
def suspends_on_sigterm() -> Iterator[None]:
    """As `stops_on_sigterm`, unless the program handles SIGTERM itself, or this is not the main thread.

    For searches on MPI: after a Ctrl-C, Open MPI's mpirun sends SIGTERM, and SIGKILL a second later.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    with stops_on_sigterm():
        yield


_heard_by_the_search: tuple[int, ...] = ()


def heard_by_the_search() -> tuple[int, ...]:
    """Return the signals that `stops_on_sigterm` handles now.

    Batch systems send them to all processes of a job. If a worker died of one before the search handles it, that would
    look like a failure of the run-function. So workers ignore them.
    """
    return _heard_by_the_search
