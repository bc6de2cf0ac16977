"""The logger of evalpool's own messages: saying something never breaks who says it.

The handlers and filters belong to the program. Python catches what a handler raises while it writes, but not what a
filter raises, nor a handler that overrides `handle`: that comes out of the call that logs, which for us is amidst the
reading of a result. So what they raise is shown on standard error, as Python itself does for handlers, and no more.
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
    """The safe face of the logger of this name."""
    return SafeLogger(logging.getLogger(name), {})


def handle_safely(facts: dict[str, Any]) -> None:
    """Give a record of these attributes to the program's logger of its name.

    What the program's record factory, filters and handlers raise is shown, and nothing else.
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
    except Exception:  # noqa: BLE001  the stream raises, too, or there is none: nobody is left to be told
        return
