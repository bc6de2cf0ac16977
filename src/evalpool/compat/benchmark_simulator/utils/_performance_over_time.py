"""The best value so far at common points of time, as mfhpo-simulator computes it; needs numpy alone.

At a point between two completions the value is that of the next one, as there: the last before it would be what an
observer had seen.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evalpool import BadArgument
from evalpool.compat.benchmark_simulator._constants import _SharedDataFileNames

__all__ = [
    "get_average_rank",
    "get_mean_and_standard_error",
    "get_performance_over_time",
    "get_performance_over_time_from_paths",
    "get_performance_over_time_with_same_time_scale",
]

Array = npt.NDArray[Any]
PerSeed = Array | Sequence[Array] | Sequence[Sequence[float]]


def get_performance_over_time(
    cumtimes: PerSeed,
    perf_vals: PerSeed,
    optimizer_overheads: PerSeed | None = None,
    step: int = 100,
    minimize: bool = True,
    log: bool = True,
) -> tuple[Array, Array]:
    """The best value so far of each seed at `step` points of time.

    Args:
        cumtimes: when the evaluations ended: an array (seeds, evaluations), or a sequence for each seed.
        perf_vals: what they gave; of the same shape.
        optimizer_overheads: seconds to subtract from each of `cumtimes`; None for none.
        step: number of points, from the first end of all seeds to the last.
        minimize: smaller is better.
        log: the points are equidistant in their logarithm; else in themselves.

    Returns:
        The points, an array (step,), and the values, an array (seeds, step).

    Raises:
        BadArgument: shapes or types do not fit.
    """
    seeds = _seeds(cumtimes, perf_vals, optimizer_overheads)
    first = min(times.min() for times, _ in seeds)
    last = max(times.max() for times, _ in seeds)
    points = np.exp(np.linspace(np.log(first), np.log(last), step)) if log else np.linspace(first, last, step)
    best = np.minimum if minimize else np.maximum
    curves = []
    for times, values in seeds:
        so_far = best.accumulate(values)[np.minimum(np.searchsorted(times, points), times.size - 1)]
        curves.append(np.where(points > 0.0, so_far, np.nan))
    return points, np.asarray(curves)


def _seeds(cumtimes: PerSeed, perf_vals: PerSeed, overheads: PerSeed | None) -> list[tuple[Array, Array]]:
    """For each seed, when its evaluations ended without the overheads, and what they gave."""
    names = "cumtimes, perf_vals, and optimizer_overheads"
    lengths = [len(cumtimes), len(perf_vals), len(cumtimes) if overheads is None else len(overheads)]
    if len(set(lengths)) != 1:
        raise BadArgument(f"The number of seeds used in {names} must be identical, but got {lengths}.")
    seeds = []
    for seed in range(len(cumtimes)):
        given: list[Any] = [cumtimes[seed], perf_vals[seed]]
        given.append(np.zeros(np.shape(given[0])) if overheads is None else overheads[seed])
        if not all(isinstance(values, list | np.ndarray) for values in given):
            raise BadArgument(f"{names} must be 2D array or list, but got {given!r} for seed {seed}.")
        times, values, charged = map(np.asarray, given)
        if not times.shape == values.shape == charged.shape:
            raise BadArgument(
                f"The shapes of {names} for each seed must be identical, but got {times.shape}, {values.shape} and "
                f"{charged.shape} for seed {seed}."
            )
        if np.any(times <= charged):
            raise BadArgument(
                f"Each element of optimizer_overheads must be smaller than that of cumtimes; seed {seed}."
            )
        seeds.append((times - charged, values))
    return seeds


def get_performance_over_time_from_paths(
    paths: Sequence[str],
    obj_key: str = "loss",
    step: int = 100,
    minimize: bool = True,
    log: bool = True,
    consider_optimizer_overhead: bool = True,
) -> tuple[Array, Array]:
    """As `get_performance_over_time`, of the results in some directories: the seeds of one setup.

    Args:
        paths: the `dir_name` of each run.
        obj_key: name of the objective.
        consider_optimizer_overhead: the time that decisions took counts; else it is subtracted from each end.
    """
    cumtimes, values, overheads = [], [], []
    for path in paths:
        results = _read(path, _SharedDataFileNames.result)
        cumtimes.append(np.asarray(results["cumtime"]))
        values.append(np.asarray(results[obj_key]))
        if not consider_optimizer_overhead:
            samples = _read(path, _SharedDataFileNames.sampled_time)
            overheads.append(_overheads(samples, np.asarray(results["worker_index"])))
    return get_performance_over_time(
        cumtimes, values, None if consider_optimizer_overhead else overheads, step=step, minimize=minimize, log=log
    )


def _read(path: str, which: _SharedDataFileNames) -> dict[str, list[Any]]:
    content: dict[str, list[Any]] = json.loads(Path(path, which.value).read_text("utf-8"))
    return content


def _overheads(samples: dict[str, list[Any]], workers: Array) -> Array:
    """What the decision for each result took: a worker's results come in the order of its decisions."""
    took = np.subtract(samples["after_sample"], samples["before_sample"])
    deciding = np.asarray(samples["worker_index"])
    ordered = np.zeros(workers.size)
    for worker in np.unique(workers):
        its = workers == worker
        ordered[its] = took[deciding == worker][: its.sum()]
    return ordered


def get_mean_and_standard_error(x: Array) -> tuple[Array, Array]:
    """Mean and standard error over the seeds, without NaN, of an array (seeds, points).

    Raises:
        BadArgument: it is no array of two dimensions.
    """
    if not isinstance(x, np.ndarray):
        raise BadArgument(f"The type of the input must be np.ndarray, but got {type(x)}.")
    if x.ndim != 2:
        raise BadArgument(f"The shape of the input array must be 2D, but got {x.ndim} dimensions.")
    number = np.count_nonzero(~np.isnan(x), axis=0)
    return np.nanmean(x, axis=0), np.nanstd(x, axis=0) / np.sqrt(number)


def get_performance_over_time_with_same_time_scale(
    all_path_list: Sequence[Sequence[Sequence[str]]],
    obj_key: str = "loss",
    step: int = 100,
    minimize: bool = True,
    log: bool = True,
    consider_optimizer_overhead: bool = True,
    step_avg_rank: int = 200,
    min_time_step_ratio: float = 1e-5,
) -> tuple[Array, Array]:
    """The median over seeds of each optimiser's curve, at common shares of each problem's longest time.

    Args:
        all_path_list: paths by problem, optimiser and seed.
        obj_key, step, minimize, log, consider_optimizer_overhead: of each curve.
        step_avg_rank: number of shares.
        min_time_step_ratio: the smallest share; 0 without `log`.

    Returns:
        The values, an array (problems, optimisers, step_avg_rank), and the shares, an array (step_avg_rank,).
    """
    by_problem = []
    for optimizers in all_path_list:
        curves = []
        for paths in optimizers:
            points, values = get_performance_over_time_from_paths(
                paths, obj_key, step, minimize, log, consider_optimizer_overhead
            )
            curves.append((points, np.median(values, axis=0)))
        end = max(points[-1] for points, _ in curves)
        at = _grid(end * min_time_step_ratio, end, step_avg_rank, log)
        by_problem.append([_at(points, medians, at, minimize) for points, medians in curves])
    return np.asarray(by_problem), _grid(min_time_step_ratio, 1.0, step_avg_rank, log)


def _grid(first: float, last: float, step: int, log: bool) -> Array:
    return np.exp(np.linspace(np.log(first), np.log(last), step)) if log else np.linspace(0.0, last, step)


def _at(points: Array, values: Array, at: Array, minimize: bool) -> Array:
    """The last value before each of these times; before the first, the worst there is."""
    seen = np.searchsorted(points, at)
    known: Array = np.where(seen > 0, values[np.maximum(seen, 1) - 1], np.inf if minimize else -np.inf)
    return known


def get_average_rank(
    all_path_list: Sequence[Sequence[Sequence[str]]],
    obj_key: str = "loss",
    step: int = 100,
    minimize: bool = True,
    log: bool = True,
    consider_optimizer_overhead: bool = True,
    step_avg_rank: int = 200,
    min_time_step_ratio: float = 1e-5,
) -> tuple[Array, Array]:
    """The mean over problems of each optimiser's rank, the smallest value being 1, and ties sharing their mean.

    Arguments as `get_performance_over_time_with_same_time_scale`.

    Returns:
        The ranks, an array (optimisers, step_avg_rank), and the shares, an array (step_avg_rank,).
    """
    values, shares = get_performance_over_time_with_same_time_scale(
        all_path_list, obj_key, step, minimize, log, consider_optimizer_overhead, step_avg_rank, min_time_step_ratio
    )
    mine, others = values[:, :, None], values[:, None]
    ranks = (others < mine).sum(axis=2) + ((others == mine).sum(axis=2) + 1) / 2
    ranks[np.broadcast_to(np.isnan(values).any(axis=1, keepdims=True), ranks.shape)] = np.nan
    return ranks.mean(axis=0), shares
