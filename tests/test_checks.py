"""Numbers of numpy are taken wherever numbers are, and come out as Python's own; what is no number is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalpool import Deadline, Evaluator, RandomSearch, ThreadPoolEvaluator, optimize, simulate
from evalpool._checks import check_number, check_real, check_seconds, check_wait
from evalpool.callbacks import ProfilingCallback, SearchEarlyStopping
from evalpool.errors import BadArgument
from evalpool.search import MedianStopper, SuccessiveHalvingStopper
from evalpool.simulation import ObjectiveFuncWrapper, simulated
from evalpool.storage import MemoryStorage, SQLiteStorage

WHOLE = [np.int64(3), np.int8(3), np.uint32(3)]
REAL = [np.float64(3.0), np.float32(3.0), np.int64(3)]


@pytest.mark.parametrize("value", WHOLE)
def test_a_whole_number_of_numpy_is_an_int(value: Any) -> None:
    found = check_number("n", value, 0)
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("value", REAL)
def test_a_number_of_numpy_is_a_float(value: Any) -> None:
    for found in (check_seconds("s", value), check_wait("s", value), check_real("s", value)):
        assert found == 3.0
        assert type(found) is float


@pytest.mark.parametrize("value", [True, np.True_, "3", 3.0, np.float64(3), None, np.array([3]), 3j])
def test_what_is_no_whole_number_is_refused_with_value_and_type(value: Any) -> None:
    with pytest.raises(BadArgument, match=rf"n is .* of type {type(value).__name__}; give a whole number"):
        check_number("n", value, 0)


@pytest.mark.parametrize("value", [True, "3", float("nan"), np.float32("nan"), -1, -(10**400), 3j])
@pytest.mark.parametrize("check", [check_seconds, check_wait])
def test_what_is_no_time_is_refused(check: Callable[[str, Any], Any], value: Any) -> None:
    with pytest.raises(BadArgument, match=r"timeout is .*; give seconds"):
        check("timeout", value)


def test_infinity_is_no_limit() -> None:
    assert check_seconds("s", np.float64("inf")) is None
    assert check_wait("s", float("inf")) is None
    assert check_seconds("s", 10**400) is check_wait("s", 10**400) is None  # larger than any float


def run(job: Any) -> float:
    return float(job["x"])


def test_an_evaluator_takes_numpy_numbers_and_keeps_plain_ones(tmp_path: Path) -> None:
    n = np.int64(2)
    kwargs = {
        "num_workers": n, "job_timeout": np.int64(5), "retries": n, "seed": np.random.default_rng(0).integers(100),
        "storage": SQLiteStorage(tmp_path / "results.db"),
    }  # fmt: skip
    with Evaluator.create(run, "thread", kwargs) as evaluator:
        assert type(evaluator.num_workers) is int
        assert type(evaluator.seed) is int
        evaluator.timeout = np.float32(100)  # type: ignore[assignment]
        evaluator.set_maximum_num_jobs_submitted(np.int64(100))
        evaluator.submit([{"x": np.int64(number)} for number in range(6)])
        assert len(evaluator.gather("BATCH", size=n, timeout=np.int64(60))) >= 2
        assert len(evaluator.gather("ALL", timeout=np.float64(60))) <= 4
        jobs = list(evaluator.as_completed([{"x": 1}], max_pending=n))
        assert [job.objective for job in jobs] == [1.0]
        assert len(optimize(evaluator, RandomSearch({"x": (0, n)}, seed=n), max_evals=n, max_pending=n)) == 2
    kwargs["storage"].close()


def test_simulated_time_takes_numpy_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n = np.int64(2)

    def table(job: Any) -> dict[str, float]:
        return {"objective": float(job["x"]), "runtime": 10.0}

    space = {"x": (0.0, np.float32(1.0))}
    result = simulate(RandomSearch(space, seed=0), table, num_workers=n, max_evals=np.int64(4), seed=n, batch_size=n)
    plain = simulate(RandomSearch(space, seed=0), table, num_workers=2, max_evals=4, seed=2, batch_size=2)
    assert result.trace_digest() == plain.trace_digest()
    with simulated(ThreadPoolEvaluator)(table, num_workers=n, job_timeout=np.int64(5)) as evaluator:
        evaluator.submit([{"x": 0}])
        (job,) = evaluator.gather("ALL")
        assert job.objective == "F_timeout"
    monkeypatch.chdir(tmp_path)
    wrapper = ObjectiveFuncWrapper(
        lambda eval_config, fidels=None, seed=None: {"loss": 1.0, "runtime": 1.0},
        save_dir_name="numpy", ask_and_tell=True, n_workers=n, n_evals=n, n_actual_evals_in_opt=np.int64(8), seed=n,
        max_waiting_time=np.float32(10),
    )  # fmt: skip
    assert type(wrapper.n_workers) is int


def test_watchers_stoppers_and_storages_take_numpy_numbers() -> None:
    n = np.int64(2)
    SearchEarlyStopping(patience=n, threshold=np.float32(0.5))
    ProfilingCallback(num_workers=n)
    MedianStopper(max_steps=np.float64(10), min_steps=n, interval_steps=n, min_competing=n)
    SuccessiveHalvingStopper(max_steps=np.int64(10), reduction_factor=np.float32(3), min_steps=n)
    assert Deadline(np.float32(100), margin=n).time_left > 0
    storage = MemoryStorage()
    search = storage.create_new_search()
    assert storage.reserve(search, n) == 0
    assert storage.reserve(search, n) == 2
