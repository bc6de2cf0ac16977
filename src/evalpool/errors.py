"""Every error that evalpool raises.

::

    EvalpoolError
    ├── BadArgument (ValueError, TypeError)      an argument of a wrong value or type
    │   └── UnknownMethod (KeyError)              no backend or storage of that name
    ├── EvaluatorError
    │   ├── EvaluatorClosed (RuntimeError)        submit after close
    │   └── MaximumJobsSpawnReached (RuntimeError)  the cap on submissions
    ├── JobError                                  on_error="raise": a job failed
    │   └── SubprocessError                       a shell command of a job failed or printed no result
    ├── CompatError (RuntimeError)                evalpool.compat: used in a wrong order, or two systems mixed
    ├── BackendError (RuntimeError)
    │   ├── MissingExtra (ImportError)            an optional package is not installed
    │   └── WorkerStartError                      workers cannot be started
    ├── StorageError
    │   ├── UnknownSearch (KeyError, ValueError)
    │   ├── UnknownJob (KeyError)
    │   ├── UnknownValue (KeyError)
    │   ├── NotJSON (TypeError)                   a value that a record cannot hold
    │   ├── NotShareable (TypeError)              a storage that must not leave its process
    │   ├── StorageUnavailable (OSError)          no server, disk full, file locked
    │   ├── CorruptRecord (ValueError)            bytes in a store that are not a record of evalpool
    │   └── NewerSchema                           written by a later evalpool
    └── SimulationError (RuntimeError)
        ├── MemberLost (InterruptedError)         a caller of a simulated wrapper died or never came
        │   └── WaitedTooLong (TimeoutError)      the call that gave up on it, after max_waiting_time
        ├── TooManyCallers (ProcessLookupError)   a caller that is not a worker of a simulated wrapper
        ├── WrongMode (NotImplementedError)       a simulated wrapper is used in a mode it was not made for
        ├── RunExists (FileExistsError)           the directory of a simulated run is in use
        └── WrongKeys (KeyError)                  fidelities or results with other keys than announced

A failed *job* is data, not an exception: see `evalpool.models.FailureKind`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalpool._text import LONGEST_MESSAGE, printable

__all__ = [
    "BackendError",
    "BadArgument",
    "CompatError",
    "CorruptRecord",
    "EvalpoolError",
    "EvaluatorClosed",
    "EvaluatorError",
    "JobError",
    "MaximumJobsSpawnReached",
    "MemberLost",
    "MissingExtra",
    "NewerSchema",
    "NotJSON",
    "NotShareable",
    "RunExists",
    "SimulationError",
    "StorageError",
    "StorageUnavailable",
    "SubprocessError",
    "TooManyCallers",
    "UnknownJob",
    "UnknownMethod",
    "UnknownSearch",
    "UnknownValue",
    "WaitedTooLong",
    "WorkerStartError",
    "WrongKeys",
    "WrongMode",
]


class EvalpoolError(Exception):
    """The root of all errors of evalpool."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument; our messages are sentences and need no quotes.
        return str(self.args[0]) if len(self.args) == 1 else super().__str__()


class BadArgument(EvalpoolError, ValueError, TypeError):
    """An argument of a wrong value or type. It inherits from both builtins, because callers catch either."""


class UnknownMethod(BadArgument, KeyError):
    """No backend or storage is registered under this name; the message lists the known ones."""


class EvaluatorError(EvalpoolError):
    """An evaluator cannot do what was asked."""


class EvaluatorClosed(EvaluatorError, RuntimeError):
    """`submit` was called on an evaluator that is closed."""


class MaximumJobsSpawnReached(EvaluatorError, RuntimeError):
    """The submission would exceed `set_maximum_num_jobs_submitted`; nothing of it was taken."""


class JobError(EvalpoolError):
    """Raised by `gather` under ``on_error="raise"``.

    Attributes:
        job: the first failed job; its `error` is the worker's traceback as text.
        jobs: everything that this gather would have returned, recorded as usual.
    """

    def __init__(self, message: str, job: Any = None, jobs: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.job = job
        self.jobs = list(jobs)


class SubprocessError(JobError):
    """A command that a run-function started failed, or its output holds no result."""


class CompatError(EvalpoolError, RuntimeError):
    """`evalpool.compat` was used in a wrong order, or two systems are mixed."""


class BackendError(EvalpoolError, RuntimeError):
    """An execution engine cannot do what was asked."""


class MissingExtra(BackendError, ImportError):
    """An optional package is missing; the message names the extra to install."""

    @classmethod
    def of(cls, need: str, extra: str, more: str = "") -> MissingExtra:
        """The error for a missing extra: ``MissingExtra.of("A plot needs matplotlib", "plot")``.

        evalpool is on no package index. pip can add an extra to an installed evalpool without looking there for it.
        """
        return cls(
            f'{need}: pip install "evalpool[{extra}]" where evalpool is installed, '
            f'or pip install ".[{extra}]" in a clone of it{more}.'
        )


class WorkerStartError(BackendError):
    """Workers die before they can take a job; the message has the end of their stderr."""


class StorageError(EvalpoolError):
    """A storage cannot do what was asked."""

    def __str__(self) -> str:
        # The message may have text of a store, which anybody may have written, and may be shown on a terminal.
        return printable(super().__str__(), LONGEST_MESSAGE)


class UnknownSearch(StorageError, KeyError, ValueError):
    """No search of this id in this storage."""


class UnknownJob(StorageError, KeyError):
    """No job of this id in this storage."""


class UnknownValue(StorageError, KeyError):
    """A search holds no value under this key."""


class NotJSON(StorageError, TypeError):
    """A value is not JSON after numpy and pydantic values were converted; the message names its key."""


class NotShareable(StorageError, TypeError):
    """A storage that lives in one process was about to be sent to another."""


class StorageUnavailable(StorageError, OSError):
    """The file, disk or server of a storage does not answer."""


class CorruptRecord(StorageError, ValueError):
    """A store holds bytes that are not a record of evalpool; the message has their position."""


class NewerSchema(StorageError):
    """The store was written by a later evalpool; the message says which."""


class SimulationError(EvalpoolError, RuntimeError):
    """Simulated time cannot continue."""


class MemberLost(SimulationError, InterruptedError):
    """A caller of a simulated objective died, or did not come in time; the message names it."""


class WaitedTooLong(MemberLost, TimeoutError):
    """A call of a simulated objective waited for `max_waiting_time` and ended the run; the message says for whom.

    The callers that were not waiting get `MemberLost` at their next call.
    """


class TooManyCallers(SimulationError, ProcessLookupError):
    """A caller of a simulated objective is not one of its `n_workers` workers, or has the place of another caller."""


class WrongMode(SimulationError, NotImplementedError):
    """A simulated wrapper that was made to simulate was called, or one that was made to be called is to simulate."""


class RunExists(SimulationError, FileExistsError):
    """The directory of a simulated run exists already; the message names it."""


class WrongKeys(SimulationError, KeyError):
    """Fidelities or results of a simulated objective have other keys than announced; the message shows both."""
