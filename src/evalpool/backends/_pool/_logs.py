"""Shows what run-functions log in worker processes in the search's process, with the job's id.

A worker does not have the program's handlers, because the main script sets them up, which a worker does not run. So it
sends its log records to the search's process, which passes them to the loggers of the same names. This is done only if
a logger there has handlers when the workers start. Otherwise Python prints warnings to standard error, which is passed
on anyway, and workers start faster without an import of `logging`.
"""

from __future__ import annotations

import logging
import pickle
from typing import TYPE_CHECKING, Any

from evalpool._interrupts import from_a_handler
from evalpool._log import handle_safely
from evalpool.backends._pool import _wire
from evalpool.worker._pickling import dump_whole
from evalpool.worker._running_job import current_job

if TYPE_CHECKING:
    from evalpool.backends._pool._worker_channel import WorkerChannel
    from evalpool.outcomes import Worker

__all__ = ["forward", "levels", "show"]

_SENT = ("name", "levelno", "levelname", "created", "msecs", "pathname", "filename", "module", "lineno", "funcName",
         "thread", "threadName", "process", "stack_info", "exc_text")  # fmt: skip
_OWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
"""The attributes of every record. Others come from ``extra=``, or from a record factory or filter of the program."""
_PLAIN = frozenset({int, float, str, bool, type(None)})


def levels() -> dict[str, int] | None:
    """Return the levels of the loggers here, by name (``""`` for the root); None if no handler would show a record."""
    root = logging.getLogger()
    # A copy: other threads may ask for loggers meanwhile, as they import modules.
    named = {name: each for name, each in root.manager.loggerDict.copy().items() if isinstance(each, logging.Logger)}
    if not root.handlers and not any(map(_shows, named.values())):
        return None
    return {**{name: each.level for name, each in named.items() if each.level}, "": root.level}


def _shows(logger: logging.Logger) -> bool:
    """Whether a logger has a handler other than `NullHandler`, which packages give to their loggers."""
    return any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers)


class _Forward(logging.Handler):
    def __init__(self, channel: WorkerChannel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._channel.send(_wire.frame(_wire.LOG, _packed(record)))
        except OSError:  # the search's process has ended, so this worker will end, too
            return
        except Exception:  # noqa: BLE001  such as arguments that cannot be formatted; as every handler does
            self.handleError(record)


def forward(channel: WorkerChannel, given: dict[str, int]) -> None:
    """In a worker: send what is logged from now on. Handlers that a run-function adds work, too."""
    for name, level in given.items():
        logging.getLogger(name or None).setLevel(level)
    logging.getLogger().addHandler(_Forward(channel))


def _packed(record: logging.LogRecord) -> bytes:
    facts: dict[str, Any] = {name: getattr(record, name) for name in _SENT}
    facts["msg"] = record.getMessage()  # formatted here, because the other side may not be able to load its arguments
    if record.exc_info and not record.exc_text:
        facts["exc_text"] = logging.Formatter().formatException(record.exc_info)
    job = current_job.get()
    facts["job_id"] = "" if job is None else f"{job[0]}.{job[1]}"
    strange: dict[str, tuple[bytes, str]] = {}
    for name, value in vars(record).items():
        if name in _OWN:
            continue
        if type(value) in _PLAIN:
            facts[name] = value
        else:
            strange[name] = _packed_value(value)
    return pickle.dumps((facts, strange))


def _packed_value(value: Any) -> tuple[bytes, str]:
    """Return a value's pickle, empty if it has none; and a text that is shown if it cannot be loaded."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001  the value's own code may raise anything
        text = f"<{type(value).__name__}: its repr raised {type(error).__name__}>"
    try:
        return dump_whole(value), text
    except Exception:  # noqa: BLE001  as above
        return b"", text


def show(payload: memoryview, worker: Worker) -> None:
    """In the search's process: pass a worker's record to the logger of its name. Errors of handlers are not raised."""
    facts, strange = pickle.loads(payload)
    for name, (pickled, text) in strange.items():
        try:
            facts[name] = pickle.loads(pickled) if pickled else text
        except BaseException as error:  # its class is not known here, or its own code raises
            if from_a_handler(error):
                raise
            facts[name] = text
    facts["processName"] = worker.name
    handle_safely(facts)
