"""What happens to virtual workers, as it is given on a command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from evalpool.cli._options import seconds, whole
from evalpool.cli._runtimes import median_and_sigma
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.simulation import Distribution, WorkerModel

__all__ = ["add_workers", "worker_model"]


def add_workers(group: argparse._ArgumentGroup) -> None:
    """Add the options."""
    group.add_argument(
        "--start-delay", metavar="TIME[,SIGMA]",
        help="until a worker is there, at first and after each loss: constant, or lognormal with this median and sigma",
    )  # fmt: skip
    group.add_argument(
        "--crash", metavar="SHARE", type=float, help="the probability that an attempt crashes its worker (default: 0)"
    )
    group.add_argument(
        "--preempted-after", metavar="TIME", type=seconds,
        help="for how long a worker is there in the mean until it is taken away (exponential)",
    )  # fmt: skip
    group.add_argument(
        "--away", metavar="TIME[,SIGMA]", help="for how long it is then gone: constant, or lognormal (default: 0)"
    )
    group.add_argument("--worker-seed", metavar="N", type=whole(0), help="of what happens to workers (default: 0)")
    group.add_argument(
        "--retries", metavar="N", type=whole(0), default=0,
        help="how often an evaluation is run again that raised or whose worker was lost (default: 0)",
    )  # fmt: skip


def worker_model(arguments: argparse.Namespace) -> WorkerModel | None:
    """The model that the options describe; None if nothing happens to workers. Raises `BadArgument`."""
    from evalpool.simulation import Distribution, WorkerModel

    after = arguments.preempted_after
    if arguments.worker_seed is not None and (arguments.start_delay, arguments.crash, after) == (None, None, None):
        raise BadArgument(
            f"--worker-seed is {arguments.worker_seed}, and nothing happens to workers: give --start-delay, --crash or "
            "--preempted-after."
        )
    seed = arguments.worker_seed or 0
    if arguments.away is not None and after is None:
        raise BadArgument(f"--away is {arguments.away!r} without --preempted-after, so no worker is taken away.")
    if not arguments.crash and after is None and arguments.start_delay is None:
        return None
    return WorkerModel(
        start_delay=_distribution("--start-delay", arguments.start_delay, seed),
        crash=arguments.crash or 0.0,
        crash_seed=seed,
        preempted_after=None if after is None else Distribution.exponential(after, seed),
        away=_distribution("--away", arguments.away, seed),
    )


def _distribution(option: str, text: str | None, seed: int) -> Distribution | None:
    from evalpool.simulation import Distribution

    if text is None:
        return None
    median, sigma = median_and_sigma(option, text)
    return Distribution.lognormal(median, sigma, seed) if sigma else Distribution.constant(median)
