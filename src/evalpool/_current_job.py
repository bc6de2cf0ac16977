"""Which job runs here: in this thread, or in this task of an event loop."""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["current_job"]

current_job: ContextVar[tuple[str, int] | None] = ContextVar("evalpool_job", default=None)
"""(search, number) of the job whose run-function is being called; None outside of one."""
