"""The logger of evalpool's own messages: a call that logs never raises.

Handlers and filters belong to the program. Python catches what a handler raises while it writes, but not what a filter
raises, or a handler that overrides `handle`: those errors come out of the call that logs, in the middle of our work. So
we only show them on standard error, as Python itself does for handlers.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

__all__ = ["SafeLogger", "get_logger", "handle_safely"]


class SafeLogger(logging.LoggerAdapter):  # type: ignore[type-arg]  # Python 3.10 cannot subscript it
    """A logger whose methods raise no `Exception`."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """As `logging.Logger.log`."""
        kwargs.setdefault("stacklevel", 2)  # the caller's line, not this one
        try:
            self.logger.log(level, msg, *args, **kwargs)
        except Exception:  # noqa: BLE001  the program's filters and handlers
            _show()


def get_logger(name: str = "evalpool") -> SafeLogger:
    """Return the logger of this name as a `SafeLogger`."""
    return SafeLogger(logging.getLogger(name), {})


def handle_safely(facts: dict[str, Any]) -> None:
    """Pass a record with these attributes to the logger that it names.

    Errors of the program's record factory, filters and handlers are only shown.
    """
    try:
        record = logging.makeLogRecord(facts)
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    except Exception:  # noqa: BLE001  as above
        _show()


def _show() -> None:
    """Show the exception that is being handled, as `logging.Handler.handleError` does."""
    if not logging.raiseExceptions:
        return
    try:
        text = traceback.format_exc()
        sys.stderr.write(f"--- Logging error: a filter or a handler of this program raised ---\n{text}")
    except Exception:  # noqa: BLE001  the stream raises, too, or there is none: nothing more can be done
        return
