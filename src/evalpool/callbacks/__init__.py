"""Callbacks: objects that are told what happens to the jobs of a search.

All callbacks run in the thread that called the evaluator, so they need no locks. The order of their hooks
is that of `Callback`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.callbacks._base import Callback
    from evalpool.callbacks._csv import CSVLoggerCallback
    from evalpool.callbacks._early_stopping import SearchEarlyStopping
    from evalpool.callbacks._logger import LoggerCallback
    from evalpool.callbacks._profiling import ProfilingCallback
    from evalpool.callbacks._progress import TqdmCallback

__all__ = [
    "CSVLoggerCallback",
    "Callback",
    "LoggerCallback",
    "ProfilingCallback",
    "SearchEarlyStopping",
    "TqdmCallback",
]

__getattr__, __dir__, _ = attach(
    __name__,
    {
        "CSVLoggerCallback": "_csv",
        "Callback": "_base",
        "LoggerCallback": "_logger",
        "ProfilingCallback": "_profiling",
        "SearchEarlyStopping": "_early_stopping",
        "TqdmCallback": "_progress",
    },
)
