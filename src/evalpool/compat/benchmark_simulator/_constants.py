"""Names and numbers that programs of mfhpo-simulator import from here."""

from __future__ import annotations

from enum import Enum
from typing import Final

from evalpool.simulation import AbstractAskTellOptimizer, ObjectiveFuncType

__all__ = ["DIR_NAME", "INF", "AbstractAskTellOptimizer", "ObjectiveFuncType"]

DIR_NAME: Final[str] = "mfhpo-simulator-info/"
"""Where the directories of runs are."""
INF: Final[float] = float(1 << 30)
"""What a call returns when the run is over."""


class _TIME_VALUES:
    """How files of mfhpo-simulator mark workers that have ended: its programs import it, and files here need none."""

    terminated: Final[float] = float(1 << 40)
    crashed: Final[float] = float(1 << 41)


class _SharedDataFileNames(Enum):
    """Files of a run: of those of mfhpo-simulator, the ones that hold results."""

    result = "results.json"
    state_cache = "state_cache.json"
    worker_cumtime = "simulated_cumtime.json"
    sampled_time = "sampled_time.json"
