"""Published experiments on the utilisation of workers, done again in simulated time."""

from __future__ import annotations

import random
from typing import NamedTuple

from evalpool.benchmarks._plan._planned_runs import Load, Planned, planned
from evalpool.benchmarks._plan._runtime_draws import RuntimeDraws
from evalpool.benchmarks._plan._search_times import SearchTimes

__all__ = ["ADBO_PUBLISHED", "PUBLISHED", "Published", "adbo"]

ADBO_PUBLISHED = 0.95
"""The utilisation that arXiv 2207.00479 reports to be exceeded."""


class Published(NamedTuple):
    """One line of an experiment.

    Attributes:
        searches: how many search at the same time.
        ask: seconds of a decision.
        run: what it is predicted to do.
    """

    searches: int
    ask: float
    run: Planned


def adbo(workers: int = 1_920, hours: float = 3.0, seed: int = 0) -> list[Published]:
    """Asynchronous distributed Bayesian optimisation (arXiv 2207.00479): 1 920 workers, jobs of N(60, 20) s for 3 h.

    The paper compares a search on each worker with one search for all of them. How long a decision took there belongs
    to its searches and machines, so several times are shown. Utilisation is busy time / (workers x time), and jobs that
    run at the end count up to it. It took a few seconds here.

    Args:
        workers: how many.
        hours: how long.
        seed: of the runtimes.
    """
    runtimes = RuntimeDraws(_normal, seed)
    rows = []
    for searches, ask in ((workers, 0.0), (workers, 1.0), (workers, 3.0), (1, 0.001), (1, 0.01), (1, 0.1), (1, 1.0)):
        load = Load(
            times=SearchTimes(ask),
            runtimes=runtimes,
            max_evals=None,
            max_time=3600.0 * hours,
            searches=searches,
            shared=True,
            dispatch=0.0,
        )
        rows.append(Published(searches, ask, planned(load, workers)))
    return rows


def _normal(rng: random.Random) -> float:
    return max(0.0, rng.gauss(60.0, 20.0))


PUBLISHED = {"adbo": adbo}
"""Name -> experiment, for ``evalpool plan --reproduce``."""
