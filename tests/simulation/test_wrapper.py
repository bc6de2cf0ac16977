"""The wrapper with callers that are threads: what they see, and what is kept."""

from __future__ import annotations

import copy
import json
import math
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalpool.errors import (
    BadArgument,
    MemberLost,
    RunExists,
    SimulationError,
    TooManyCallers,
    WaitedTooLong,
    WrongKeys,
)
from evalpool.simulation import ObjectiveFuncWrapper, get_multiple_wrappers

from .callers import (
    FOUR,
    FOUR_ENDS,
    SENTINEL,
    TWO,
    TWO_ENDS,
    Tasks,
    by_worker,
    call_until_the_end,
    declared,
    in_line,
    in_threads,
    work_off,
)


def make(tmp_path: Path, objective: Any = in_line, **settings: Any) -> ObjectiveFuncWrapper:
    settings = {"n_workers": 1, "n_evals": 10, "overhead": "none", "save_dir_name": "run", **settings}
    calls = settings["n_evals"] + settings["n_workers"]
    return ObjectiveFuncWrapper(objective, tmp_dir=str(tmp_path), **{"n_actual_evals_in_opt": calls, **settings})


def log_of(wrapper: ObjectiveFuncWrapper) -> list[dict[str, Any]]:
    lines = Path(wrapper.dir_name, "completions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


# Order.


@pytest.mark.parametrize(("runtimes", "ends", "workers"), [(TWO, TWO_ENDS, 2), (FOUR, FOUR_ENDS, 4)])
def test_threads_see_completions_in_virtual_order(
    tmp_path: Path, runtimes: list[int], ends: list[int], workers: int
) -> None:
    with make(tmp_path, n_workers=workers, n_evals=20) as wrapper:
        tasks = Tasks(runtimes)
        in_threads([lambda: work_off(wrapper, tasks)] * workers)
        results = wrapper.get_results()
    assert results["cumtime"] == ends
    assert set(results) == {"loss", "cumtime", "index"}


def test_a_declared_overhead_makes_runs_the_same_whoever_is_faster(tmp_path: Path) -> None:
    runs = []
    for name in "ab":
        wrappers = get_multiple_wrappers(
            in_line, name, 3, 40, 36, seed=5, store_config=True, tmp_dir=str(tmp_path), overhead=declared
        )
        in_threads([lambda one=one, i=i: call_until_the_end(one, i) for i, one in enumerate(wrappers)])
        runs.append((wrappers[0].get_results(), wrappers[1].get_optimizer_overhead()))
        wrappers[0].close()
    assert runs[0] == runs[1]
    # And it is what each caller alone comes to, put in the order of ends and workers.
    ends = []
    for worker in range(3):
        now = 0.0
        for number in range(40):
            now += declared(worker, number)
            now += by_worker(worker, number)["runtime"]
            ends.append((now, worker))
    results = runs[0][0]
    assert list(zip(results["cumtime"], results["index"], strict=True)) == sorted(ends)[:36]


def test_seeds_come_from_the_seed_and_the_number(tmp_path: Path) -> None:
    from evalpool.jobs._seeds import job_seed

    seen: list[int] = []

    def objective(eval_config: dict[str, Any], fidels: Any, seed: int) -> dict[str, float]:
        seen.append(seed)
        return {"loss": 0.0, "runtime": 1.0}

    with make(tmp_path, objective, seed=3, n_evals=4) as wrapper:
        for _ in range(4):
            wrapper({})
    assert seen == [job_seed(3, number) for number in range(4)]


def test_measured_decisions_are_charged_one_after_the_other_and_kept(tmp_path: Path) -> None:
    with make(tmp_path, n_workers=2, n_evals=6, overhead="measured") as wrapper:
        tasks = Tasks([1] * 8)
        in_threads([lambda: work_off(wrapper, tasks)] * 2)
        samples = wrapper.get_optimizer_overhead()
    before, after = samples["before_sample"], samples["after_sample"]
    assert len(before) >= 6
    assert all(a < b for a, b in zip(before, after, strict=True))
    assert all(a <= b for a, b in zip(after, before[1:], strict=False)), "one search decides"
    assert all(line["wall"] > 0 for line in log_of(wrapper)[3:-2])


def test_the_time_before_the_first_call_of_each_worker_is_charged_from_the_start_of_the_run(tmp_path: Path) -> None:
    # sampler:  |0.1 s   |0.1 s   |0.1 s ...
    # worker-0:          |0: 5----|
    # worker-1:                   |1: 5----|
    began = [threading.Event() for _ in range(2)]

    def objective(eval_config: dict[str, Any], **_: Any) -> dict[str, float]:
        began[eval_config["x"]].set()
        return {"loss": eval_config["x"], "runtime": 5.0}

    with make(tmp_path, objective, n_workers=2, n_evals=2, overhead="measured") as wrapper:

        def first() -> None:
            threading.Event().wait(0.1)
            wrapper({"x": 0})

        def second() -> None:
            assert began[0].wait(30)
            threading.Event().wait(0.1)
            wrapper({"x": 1})

        assert in_threads([first, second]) == [None, None]
        results, samples = wrapper.get_results(), wrapper.get_optimizer_overhead()
    lines = log_of(wrapper)
    walls = [line["wall"] for line in lines[1:3]]
    assert walls[0] >= 0.1
    assert walls[1] >= walls[0] + 0.1, "both are measured from the start"
    assert results["cumtime"] == pytest.approx([5.0 + walls[0], 5.0 + walls[1]]), "and not one behind the other"
    assert samples["before_sample"][1] == samples["after_sample"][0] == pytest.approx(walls[0])


def test_cpu_time_does_not_grow_while_a_caller_sleeps(tmp_path: Path) -> None:
    with make(tmp_path, n_evals=2, overhead="cpu") as wrapper:
        wrapper({"x": 0, "runtime": 1.0})
        threading.Event().wait(0.2)
        wrapper({"x": 0, "runtime": 1.0})
        line = log_of(wrapper)[2]
    assert line["wall"] >= 0.2
    assert line["after"] - line["before"] < 0.1


def test_with_an_expensive_sampler_results_pass_those_who_think_on(tmp_path: Path) -> None:
    # worker-0: |1.0 -----|thinks, in real time, until it has seen the next result
    # worker-1: |1.1 ------|
    with make(tmp_path, n_workers=2, n_evals=4, overhead="measured", expensive_sampler=True) as wrapper:
        second = threading.Event()

        def slow() -> None:
            wrapper({"x": 0, "runtime": 1.0})
            assert second.wait(30), "the other's result was held back"
            wrapper({"x": 1, "runtime": 9.0})

        def quick() -> None:
            wrapper({"x": 2, "runtime": 1.1})
            second.set()
            wrapper({"x": 3, "runtime": 9.0})

        assert in_threads([slow, quick]) == [None, None]
        cumtimes = wrapper.get_results()["cumtime"]
    assert 1.0 < cumtimes[0] < 1.1 < cumtimes[1] < 10.0
    assert 10.1 <= cumtimes[3] < 40, "it thought for 0.1 s and more"


def test_with_an_expensive_sampler_results_pass_those_who_have_not_come_yet(tmp_path: Path) -> None:
    # worker-0: |0.1-|0.1-|
    # worker-1: |thinks until it has seen the first result
    with make(tmp_path, n_workers=2, n_evals=3, overhead="measured", expensive_sampler=True) as wrapper:
        passed = threading.Event()

        def quick() -> None:
            wrapper({"x": 0, "runtime": 0.1})
            passed.set()
            wrapper({"x": 1, "runtime": 0.1})

        def late() -> None:
            assert passed.wait(30), "a result waited for a worker that was still thinking"
            wrapper({"x": 2, "runtime": 0.1})

        assert in_threads([quick, late]) == [None, None]
        assert wrapper.get_results()["cumtime"][0] < wrapper.get_optimizer_overhead()["after_sample"][1]


def test_without_it_they_wait(tmp_path: Path) -> None:
    with make(tmp_path, n_workers=2, n_evals=4, overhead="measured", max_waiting_time=0.3) as wrapper:

        def slow() -> None:
            wrapper({"x": 0, "runtime": 1.0})
            threading.Event().wait(1.0)
            wrapper({"x": 1, "runtime": 9.0})

        outcomes = in_threads([slow, lambda: wrapper({"x": 2, "runtime": 1.1})])
    assert [type(outcome) for outcome in outcomes] == [MemberLost, WaitedTooLong]
    assert "has brought no result for" in str(outcomes[1])


# The end.


def test_after_the_last_evaluation_calls_return_the_sentinel_at_once(tmp_path: Path) -> None:
    calls: list[Any] = []

    def objective(eval_config: dict[str, Any], fidels: Any, seed: Any) -> dict[str, float]:
        calls.append(eval_config)
        return {"loss": 1.0, "accuracy": 2.0, "time": 3.0}

    with make(tmp_path, objective, n_evals=3, obj_keys=["loss", "accuracy"], runtime_key="time") as wrapper:
        results = [wrapper({}) for _ in range(5)]
        assert results[:3] == [{"loss": 1.0, "accuracy": 2.0, "time": 3.0}] * 3
        assert results[3:] == [dict.fromkeys(("loss", "accuracy", "time"), SENTINEL)] * 2
        assert len(calls) == 3
        assert wrapper.get_results() == {
            "loss": [1.0] * 3,
            "accuracy": [2.0] * 3,
            "cumtime": [3.0, 6.0, 9.0],
            "index": [0, 0, 0],
        }


def test_exactly_so_many_are_reported_and_the_others_get_the_sentinel(tmp_path: Path) -> None:
    wrappers = get_multiple_wrappers(in_line, "run", 2, 5, 3, tmp_dir=str(tmp_path), overhead="none")
    outcomes = in_threads(
        [
            lambda: [wrappers[0]({"x": 0, "runtime": 1.0})["loss"] for _ in range(4)],
            lambda: [wrappers[1]({"x": 1, "runtime": 10.0})["loss"] for _ in range(2)],
        ]
    )
    assert outcomes == [[0, 0, 0, SENTINEL], [SENTINEL, SENTINEL]]
    assert wrappers[0].get_results()["cumtime"] == [1.0, 2.0, 3.0]
    wrappers[0].close()


def test_what_ends_exactly_at_the_end_of_time_counts_and_nothing_later(tmp_path: Path) -> None:
    wrappers = get_multiple_wrappers(
        in_line, "run", 2, 22, 20, tmp_dir=str(tmp_path), overhead="none", max_total_eval_time=4.0
    )
    outcomes = in_threads(
        [
            lambda: [wrappers[0]({"x": 0, "runtime": 2.0})["loss"] for _ in range(3)],
            lambda: [wrappers[1]({"x": 1, "runtime": 3.0})["loss"] for _ in range(3)],
        ]
    )
    assert outcomes == [[0, 0, SENTINEL], [1, SENTINEL, SENTINEL]]
    assert wrappers[0].get_results()["cumtime"] == [2.0, 3.0, 4.0]
    ended = log_of(wrappers[0])[-2:]
    assert ended == [
        {"not_reported": [{"job": 3, "worker": 1, "before": 3.0, "after": 3.0, "resumed": None}]},
        {"over": "max_time"},
    ]
    wrappers[0].close()


def test_results_of_a_run_that_goes_on_are_those_so_far(tmp_path: Path) -> None:
    with make(tmp_path) as wrapper:
        assert wrapper.get_results() == {"loss": [], "cumtime": [], "index": []}
        wrapper({"x": 0.5, "runtime": 2.0})
        assert wrapper.get_results() == {"loss": [0.5], "cumtime": [2.0], "index": [0]}
        assert json.loads(Path(wrapper.dir_name, "results.json").read_text())["loss"] == [0.5]
        wrapper({"x": 0.25, "runtime": 2.0})
        assert wrapper.get_results()["loss"] == [0.5, 0.25]


# Failures.


def test_a_subclass_may_follow_a_run_and_reads_only_what_is_new(tmp_path: Path) -> None:
    with make(tmp_path, n_evals=4) as wrapper:
        log = Path(wrapper.dir_name, "completions.jsonl")
        for number in range(3):
            wrapper({"runtime": 1.0 + number, "x": number})
            assert wrapper.completed_after(number).results["loss"] == [number]
        assert wrapper.completed_after(3).results == {"loss": [], "cumtime": [], "index": []}
        whole = log.read_bytes()
        with log.open("ab") as file:
            file.write(b'{"job":9')  # a line that is being written
        assert wrapper.completed_after(1).results["cumtime"] == [3.0, 6.0]
        log.write_bytes(whole)
        wrapper({"runtime": 4.0, "x": 3})
        new = wrapper.completed_after(2)
        assert (new.results["loss"], new.is_over) == ([2, 3], True)
        assert new.decisions == {"before_sample": [3.0, 6.0], "after_sample": [3.0, 6.0], "worker_index": [0, 0]}
        assert pickle.loads(pickle.dumps(wrapper)).completed_after(2) == new, "a copy reads the log itself"


def test_what_the_objective_raises_is_raised_in_its_caller_and_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    def objective(eval_config: dict[str, Any], fidels: Any, seed: Any) -> dict[str, float]:
        if eval_config["x"] == 1001:
            raise ZeroDivisionError("at worker 1")
        return in_line(eval_config)

    wrappers = get_multiple_wrappers(objective, "run", 2, 14, 12, tmp_dir=str(tmp_path), overhead="none")

    def other() -> list[Any]:
        wrappers[1](by_worker(1, 0))
        with pytest.raises(ZeroDivisionError, match="at worker 1"):
            wrappers[1](by_worker(1, 1))
        return [wrappers[1](by_worker(1, number)) for number in range(2, 20)]

    outcomes = in_threads([lambda: call_until_the_end(wrappers[0], 0), other])
    assert not any(isinstance(outcome, BaseException) for outcome in outcomes)
    results = wrappers[0].get_results()
    assert len(results["loss"]) == 12
    assert results["loss"].count("F_ZeroDivisionError") == 1
    failed = next(line for line in log_of(wrappers[0]) if line.get("status") == "FAILED")
    assert "at worker 1" in failed["error"]
    assert failed["end"] == failed["after"], "nobody knows how long it would have taken"
    wrappers[0].close()


@pytest.mark.parametrize("runtime", [-1.0, math.nan, math.inf, "1.0", None, True])
def test_a_runtime_that_is_none_is_an_error_with_the_value_and_leaves_the_clock(tmp_path: Path, runtime: Any) -> None:
    with make(tmp_path) as wrapper:
        with pytest.raises(BadArgument, match=repr(runtime)):
            wrapper({"x": 1, "runtime": runtime})
        assert wrapper({"x": 2, "runtime": 1.5})["loss"] == 2
        assert wrapper.get_results()["cumtime"] == [0.0, 1.5]
        assert wrapper.get_results()["loss"] == ["F_BadArgument", 2]


@pytest.mark.parametrize("settings", [{"obj_keys": ["other"]}, {"obj_keys": ["loss", "other"]}, {"runtime_key": "t"}])
def test_an_output_without_the_announced_keys_is_a_key_error_that_lists_both(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    with make(tmp_path, **settings) as wrapper:
        with pytest.raises(KeyError, match="The output of objective must be a superset of") as caught:
            wrapper({"x": 1, "runtime": 1.0})
        assert isinstance(caught.value, WrongKeys)
        assert "{'loss': 1, 'runtime': 1.0}" in str(caught.value)


def test_an_output_that_is_no_dict_is_an_error(tmp_path: Path) -> None:
    with make(tmp_path, lambda eval_config, fidels, seed: 3.0) as wrapper:
        with pytest.raises(WrongKeys, match=r"results=3\.0"):
            wrapper({})


def test_an_interrupt_of_the_objective_does_not_wait_for_its_turn_and_nobody_waits_for_it(tmp_path: Path) -> None:
    inside = threading.Event()

    def objective(eval_config: dict[str, Any], fidels: Any, seed: Any) -> dict[str, float]:
        if eval_config["x"] == 0:
            assert inside.wait(30)
            raise KeyboardInterrupt
        inside.set()
        return in_line(eval_config)

    def interrupted() -> None:
        with pytest.raises(KeyboardInterrupt):
            wrapper({"x": 0, "runtime": 1.0})

    with make(tmp_path, objective, n_workers=2, n_evals=3) as wrapper:
        outcomes = in_threads([interrupted, lambda: wrapper({"x": 1, "runtime": 1.0})["loss"]])
        assert outcomes == [None, 1]
        assert wrapper.get_results()["loss"] == ["F_worker_died", 1]


# Fidelities.


def test_fidelities_are_checked_against_what_was_announced(tmp_path: Path) -> None:
    with make(tmp_path, save_dir_name="without") as wrapper:
        with pytest.raises(ValueError, match="Objective function got keyword `fidels`"):
            wrapper({"x": 1, "runtime": 1.0}, fidels={"epoch": 1})
    with make(tmp_path, save_dir_name="with", fidel_keys=["epoch", "width"]) as wrapper:
        assert wrapper.fidel_keys == ["epoch", "width"]
        with pytest.raises(ValueError, match="did not get keyword `fidels`"):
            wrapper({"x": 1, "runtime": 1.0})
        with pytest.raises(KeyError, match="The keys in fidels must be identical to fidel_keys"):
            wrapper({"x": 1, "runtime": 1.0}, fidels={"epoch": 1})
        wrapper({"x": 1, "runtime": 1.0}, fidels={"epoch": 1, "width": 0.5})


def epochs(eval_config: dict[str, Any], fidels: Any = None, seed: Any = None) -> dict[str, float]:
    return {"loss": seed, "runtime": float(fidels["epoch"])}


def test_a_continued_evaluation_is_charged_the_difference_and_has_the_seed_it_began_with(tmp_path: Path) -> None:
    with make(tmp_path, epochs, fidel_keys=["epoch"], continual_max_fidel=9) as wrapper:
        results = [wrapper({"x": 1}, fidels={"epoch": epoch}) for epoch in (3, 5, 9, 9)]
        state = wrapper.get_results() and json.loads(Path(wrapper.dir_name, "state_cache.json").read_text())
        assert [result["runtime"] for result in results] == [3.0, 2.0, 4.0, 9.0]
        seeds = [result["loss"] for result in results]
        assert seeds[0] == seeds[1] == seeds[2] != seeds[3]
        assert state == {}, "the last fidelity leaves none"
        wrapper({"x": 1}, fidels={"epoch": 1}, config_id=7)
        wrapper.get_results()
        state = json.loads(Path(wrapper.dir_name, "state_cache.json").read_text())
        assert state == {"7": [[1.0, 19.0, 1, pytest.approx(state["7"][0][3])]]}


def test_a_config_id_that_comes_back_with_another_configuration_is_an_error_unless_told_not_to_look(
    tmp_path: Path,
) -> None:
    with make(tmp_path, save_dir_name="a") as wrapper:
        wrapper({"x": 1, "runtime": 1.0}, config_id=3)
        with pytest.raises(ValueError, match="config_id '3' stood for"):
            wrapper({"x": 2, "runtime": 1.0}, config_id=3)
        assert wrapper({"x": 1, "runtime": 1.0}, config_id=3)["loss"] == 1, "the run goes on"
        assert wrapper.get_results()["cumtime"] == [1.0, 2.0]
    with make(tmp_path, save_dir_name="b", config_tracking=False) as wrapper:
        wrapper({"x": 1, "runtime": 1.0}, config_id=3)
        wrapper({"x": 2, "runtime": 1.0}, config_id=3)


@pytest.mark.parametrize("fidels", [{"epoch": 1.0}, {"epoch": -1}, {"epoch": "1"}, {"epoch": 1, "width": 2}])
def test_continuation_needs_one_whole_fidelity(tmp_path: Path, fidels: dict[str, Any]) -> None:
    with make(tmp_path, epochs, fidel_keys=["epoch"], continual_max_fidel=9) as wrapper:
        with pytest.raises(ValueError, match=r"Fidelity for continual evaluation must be|only one element"):
            wrapper({"x": 1}, fidels=fidels)
        assert wrapper.get_results()["loss"] == []


def test_callers_continue_each_others_evaluations_in_virtual_order(tmp_path: Path) -> None:
    # worker-0: |a at 1: 1-|b at 3: 3-----|
    # worker-1: |b at 2: 2---|a at 4: 4 - 1---|      a was left at 1
    wrappers = get_multiple_wrappers(
        epochs, "run", 2, 6, 4, ["epoch"], continual_max_fidel=9, tmp_dir=str(tmp_path), overhead="none"
    )

    def calls(worker: int, plan: list[tuple[str, int]]) -> list[float]:
        return [wrappers[worker]({"x": name}, fidels={"epoch": epoch})["runtime"] for name, epoch in plan]

    outcomes = in_threads(
        [
            lambda: calls(0, [("a", 1), ("b", 3), ("c", 2)]),
            lambda: calls(1, [("b", 2), ("a", 4), ("c", 1)]),
        ]
    )
    assert outcomes == [[1.0, 3.0, SENTINEL], [2.0, 3.0, SENTINEL]]
    wrappers[0].close()


# Columns.


def test_store_config_keeps_configuration_fidelities_and_seed_and_pads_what_appears_later(tmp_path: Path) -> None:
    with make(tmp_path, epochs, fidel_keys=["epoch"], store_config=True, n_evals=2, seed=1) as wrapper:
        wrapper({"x": 1}, fidels={"epoch": 1})
        wrapper({"x": 2, "y": np.float64(0.5)}, fidels={"epoch": 2})
        results = wrapper.get_results()
    assert {key: results[key] for key in ("x", "y", "epoch")} == {"x": [1, 2], "y": [None, 0.5], "epoch": [1, 2]}
    assert results["seed"] == results["loss"]


def test_store_actual_cumtime_keeps_real_seconds(tmp_path: Path) -> None:
    with make(tmp_path, store_actual_cumtime=True) as wrapper:
        began = time.time()
        for _ in range(3):
            wrapper({"x": 1, "runtime": 1000.0})
        actual = wrapper.get_results()["actual_cumtime"]
    assert sorted(actual) == actual
    assert 0 <= actual[2] <= time.time() - began + 1


def test_objectives_may_be_of_any_kind_of_number_and_the_runtime_one_of_them(tmp_path: Path) -> None:
    def objective(eval_config: dict[str, Any], fidels: Any, seed: Any) -> dict[str, Any]:
        return {"loss": np.float32(0.5), "size": np.int64(3), "runtime": np.float64(2.0), "unused": object()}

    with make(tmp_path, objective, obj_keys=["loss", "size", "runtime"]) as wrapper:
        wrapper({})
        assert wrapper.get_results() == {
            "loss": [0.5],
            "size": [3],
            "runtime": [2.0],
            "cumtime": [2.0],
            "index": [0],
        }


def test_a_loss_that_diverged_is_kept_as_it_is(tmp_path: Path) -> None:
    with make(tmp_path) as wrapper:
        wrapper({"x": math.inf, "runtime": 1.0})
        wrapper({"x": math.nan, "runtime": 1.0})
        losses = wrapper.get_results()["loss"]
    assert losses[0] == math.inf
    assert math.isnan(losses[1])


def test_a_wrapper_says_where_its_files_are(tmp_path: Path) -> None:
    with make(tmp_path, n_evals=1) as wrapper:
        wrapper({"x": 1, "runtime": 1.0})
        assert json.loads(Path(wrapper.result_file_path).read_text()) == wrapper.get_results()
        assert json.loads(Path(wrapper.optimizer_overhead_file_path).read_text()) == wrapper.get_optimizer_overhead()


def test_with_batches_there_is_one_wrapper_for_the_one_caller(tmp_path: Path) -> None:
    (wrapper,) = get_multiple_wrappers(in_line, "run", 2, 9, 4, batch_size=4, tmp_dir=str(tmp_path), overhead="none")
    for runtime in (4.0, 1.0, 1.0, 1.0):
        wrapper({"x": 1, "runtime": runtime})
    assert wrapper.get_results()["cumtime"] == [1.0, 2.0, 3.0, 4.0]
    wrapper.close()


def test_the_files_have_the_shapes_that_its_programs_read(tmp_path: Path) -> None:
    with make(tmp_path, n_workers=2, n_evals=5, overhead=declared) as wrapper:
        tasks = Tasks([1] * 9)
        in_threads([lambda: work_off(wrapper, tasks)] * 2)
        directory = Path(tmp_path, "mfhpo-simulator-info", "run")
        assert wrapper.dir_name == str(directory)
        files = {path.name: path for path in directory.iterdir()}
    assert set(files) == {
        "completions.jsonl",
        "results.json",
        "simulated_cumtime.json",
        "state_cache.json",
        "timenow.json",
    }
    cumtimes = json.loads(files["simulated_cumtime.json"].read_text())
    assert len(cumtimes) == 2
    assert all(isinstance(value, float) for value in cumtimes.values())
    assert json.loads(files["state_cache.json"].read_text()) == {}
    samples = json.loads(files["timenow.json"].read_text())
    assert set(samples) == {"before_sample", "after_sample"}
    assert len(samples["before_sample"]) == len(samples["after_sample"]) >= 5


# Batches.


def test_a_batch_is_scheduled_on_the_workers_and_ends_at_a_barrier(tmp_path: Path) -> None:
    # worker-0: |0.5|0: 4-----------|0.5|...
    # worker-1:     |1: 1-|2: 2---| |
    with make(tmp_path, n_workers=2, n_evals=6, batch_size=3, overhead=lambda worker, call: 0.5) as wrapper:
        losses = [wrapper({"x": x, "runtime": runtime})["loss"] for x, runtime in enumerate([4.0, 1.0, 2.0, 1, 1, 1])]
        assert losses == [0, 1, 2, 3, 4, 5], "calls return at once, with their own results"
        assert wrapper({"x": 9, "runtime": 1.0})["loss"] == SENTINEL
        results = wrapper.get_results()
        assert results["cumtime"] == [1.5, 3.5, 4.5, 6.0, 6.0, 7.0]
        assert results["loss"] == [1, 2, 0, 3, 4, 5], "objectives stay with their own evaluations"
        assert wrapper.get_optimizer_overhead()["before_sample"] == [0.0, 0.0, 0.0, 4.5, 4.5, 4.5]


def test_the_last_batch_may_be_smaller_and_continuation_works_within_batches(tmp_path: Path) -> None:
    with make(
        tmp_path, epochs, n_workers=1, n_evals=3, batch_size=2, fidel_keys=["epoch"], continual_max_fidel=9
    ) as wrapper:
        charged = [wrapper({"x": 1}, fidels={"epoch": epoch})["runtime"] for epoch in (2, 3, 9, 9)]
        assert charged == [2.0, 1.0, 6.0, SENTINEL]
        assert wrapper.get_results()["cumtime"] == [2.0, 3.0, 9.0]


def test_batches_end_at_the_end_of_time(tmp_path: Path) -> None:
    with make(tmp_path, n_workers=2, batch_size=2, max_total_eval_time=3.0) as wrapper:
        losses = [wrapper({"x": x, "runtime": 2.0})["loss"] for x in range(5)]
        assert losses[:2] == [0, 1]
        assert losses[-1] == SENTINEL
        assert wrapper.get_results()["cumtime"] == [2.0, 2.0]


# Who calls.


def test_a_caller_too_many_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    inside, refused = threading.Semaphore(0), threading.Event()

    def objective(eval_config: dict[str, Any], fidels: Any, seed: Any) -> dict[str, float]:
        inside.release()
        assert refused.wait(30)
        return in_line(eval_config)

    with make(tmp_path, objective, n_workers=2, n_evals=6) as wrapper:
        tasks = Tasks([1] * 9)

        def third() -> None:
            for _ in range(2):
                assert inside.acquire(timeout=30)
            try:
                wrapper(tasks.take())
            finally:
                refused.set()

        outcomes = in_threads([lambda: work_off(wrapper, tasks)] * 2 + [third])
        assert outcomes[:2] == [None, None]
        assert isinstance(outcomes[2], TooManyCallers)
        assert isinstance(outcomes[2], ProcessLookupError)
        assert "Set n_workers to the number of threads or processes that call" in str(outcomes[2])


def test_missing_callers_are_named_after_a_while(tmp_path: Path) -> None:
    with make(tmp_path, n_workers=4, max_waiting_time=0.2) as wrapper:
        outcomes = in_threads([lambda: wrapper({"x": 1, "runtime": 1.0})] * 2)
        assert [type(outcome) for outcome in outcomes] == [WaitedTooLong, WaitedTooLong]
        assert all(isinstance(outcome, TimeoutError) for outcome in outcomes)
        assert "worker 2, 3 of 4 never came, 2 did" in str(outcomes[0])
        with pytest.raises(InterruptedError, match="never came") as others:
            wrapper({"x": 1, "runtime": 1.0})
        assert type(others.value) is MemberLost
        assert wrapper.get_results()["loss"] == []


def test_a_call_evaluates_nothing_after_the_run_was_given_up(tmp_path: Path) -> None:
    evaluated: list[int] = []

    def objective(eval_config: dict[str, Any], fidels: Any, seed: Any) -> dict[str, float]:
        evaluated.append(eval_config["x"])
        return in_line(eval_config)

    with make(tmp_path, objective, n_workers=2, max_waiting_time=0.2) as wrapper:
        for x, kind in enumerate([WaitedTooLong, MemberLost, MemberLost]):
            with pytest.raises(MemberLost) as lost:
                wrapper({"x": x, "runtime": 1.0})
            assert type(lost.value) is kind
    assert evaluated == [0]


def test_a_thread_that_ends_is_not_waited_for_and_its_place_can_be_taken(tmp_path: Path) -> None:
    with make(tmp_path, n_workers=2, n_evals=8) as wrapper:
        first, gone = threading.Event(), threading.Event()

        def leaves() -> None:
            wrapper({"x": 0, "runtime": 1.0})
            first.set()

        def stays() -> list[float]:
            losses = [wrapper({"x": 1, "runtime": 2.0})["loss"] for _ in range(3)]
            gone.set()
            return losses

        def comes() -> Any:
            assert gone.wait(30)
            return wrapper({"x": 2, "runtime": 0.5})["loss"]

        assert in_threads([leaves, stays]) == [None, [1, 1, 1]]
        assert in_threads([comes, lambda: wrapper({"x": 3, "runtime": 0.25})["loss"]]) == [2, 3]
        assert wrapper.get_results()["cumtime"] == [1.0, 2.0, 4.0, 6.0, 6.25, 6.5]


def test_a_copy_in_the_same_process_is_the_same_caller(tmp_path: Path) -> None:
    with make(tmp_path) as wrapper:
        wrapper({"x": 0, "runtime": 1.0})
        again = copy.copy(wrapper)
        pickled = pickle.loads(pickle.dumps(wrapper))
        assert again({"x": 1, "runtime": 1.0})["loss"] == 1
        assert pickled({"x": 2, "runtime": 1.0})["loss"] == 2
        assert wrapper.get_results()["index"] == [0, 0, 0]


def test_a_closed_wrapper_raises_in_those_who_wait(tmp_path: Path) -> None:
    wrapper = make(tmp_path, n_workers=2)
    waits = threading.Event()

    def closes() -> None:
        waits.wait(30)
        wrapper.close()

    def calls() -> None:
        waits.set()
        wrapper({"x": 0, "runtime": 1.0})

    outcomes = in_threads([calls, closes])
    assert outcomes[1] is None
    assert isinstance(outcomes[0], SimulationError)
    wrapper.close()


def test_subclasses_may_call_it_in_their_own_way(tmp_path: Path) -> None:
    class Mine(ObjectiveFuncWrapper):
        def __call__(self, config: dict[str, Any], budget: int, **data: Any) -> dict[str, Any]:  # type: ignore[override]
            return super().__call__(eval_config=config, fidels={"epoch": int(budget)}, **data)

    def objective(eval_config: dict[str, Any], fidels: Any, seed: Any, **data: Any) -> dict[str, float]:
        return {"fitness": data["table"][eval_config["x"]], "cost": fidels["epoch"]}

    with Mine(
        objective,
        n_workers=1,
        n_evals=2,
        n_actual_evals_in_opt=3,
        fidel_keys=["epoch"],
        obj_keys=["fitness"],
        runtime_key="cost",
        tmp_dir=str(tmp_path),
    ) as wrapper:
        assert wrapper({"x": 1}, 3, table=[0.5, 0.25]) == {"fitness": 0.25, "cost": 3}
        assert (wrapper.obj_keys, wrapper.runtime_key, wrapper.n_workers) == (["fitness"], "cost", 1)
        assert wrapper.n_actual_evals_in_opt == 3


# Arguments.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ask_and_tell": True, "launch_multiple_wrappers_from_user_side": True}, "cannot be True at the same time"),
        ({"launch_multiple_wrappers_from_user_side": True, "save_dir_name": None}, "save_dir_name must be given"),
        ({"n_actual_evals_in_opt": 10}, "Cannot guarantee that optimizers will not hang"),
        ({"continual_max_fidel": 3}, "fidel_keys has only one element"),
        ({"continual_max_fidel": 3, "fidel_keys": ["a", "b"]}, "fidel_keys has only one element"),
        ({"continual_max_fidel": 3.5, "fidel_keys": ["a"]}, "continual_max_fidel is 3.5"),
        ({"allow_parallel_sampling": True, "expensive_sampler": True, "overhead": "measured"}, "cannot be True"),
        ({"expensive_sampler": True}, "overhead='measured'"),
        ({"worker_index": 0}, "worker_index can be given only with"),
        ({"worker_index": 4, "launch_multiple_wrappers_from_user_side": True}, r"worker_index must be in \[0, 0\]"),
        ({"n_workers": 0}, "n_workers is 0"),
        ({"n_workers": 4.0, "n_actual_evals_in_opt": 20}, r"n_workers is 4\.0"),
        ({"n_evals": -1}, "n_evals is -1"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"seed": -1}, "seed is -1"),
        ({"overhead": "guessed"}, "overhead is 'guessed'"),
        ({"on_lost": "ignore"}, "on_lost is 'ignore'"),
        ({"max_waiting_time": 0}, "max_waiting_time is 0"),
        ({"max_total_eval_time": math.nan}, "max_total_eval_time is nan"),
        ({"check_interval_time": -1}, "check_interval_time is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"obj_keys": "loss"}, "obj_keys is 'loss'"),
        ({"obj_keys": []}, "obj_keys is empty"),
        ({"obj_keys": ["a", "a"]}, "each name once"),
        ({"runtime_key": 3}, "runtime_key is 3"),
        ({"objective": 3}, "obj_func is 3"),
    ],
)
def test_wrong_arguments_are_value_errors_with_the_value(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(tmp_path, **settings)
    assert not Path(tmp_path, "mfhpo-simulator-info").exists(), "nothing is left of it"


def test_a_directory_that_exists_is_refused(tmp_path: Path) -> None:
    make(tmp_path).close()
    with pytest.raises(FileExistsError, match="already exists") as caught:
        make(tmp_path)
    assert isinstance(caught.value, RunExists)
    with pytest.raises(FileExistsError):
        get_multiple_wrappers(in_line, "run", tmp_dir=str(tmp_path))
    with pytest.raises(FileExistsError):
        make(tmp_path, ask_and_tell=True)


@pytest.mark.parametrize("overhead", [-1.0, math.nan, "1", None])
def test_a_declared_overhead_that_is_none_is_an_error_before_anything_is_evaluated(
    tmp_path: Path, overhead: Any
) -> None:
    evaluated: list[Any] = []
    with make(tmp_path, evaluated.append, overhead=lambda worker, call: overhead) as wrapper:
        with pytest.raises(BadArgument, match="overhead of a decision"):
            wrapper({})
    assert not evaluated


def test_a_log_that_cannot_be_written_stops_the_run_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    with make(tmp_path) as wrapper:
        wrapper({"x": 0, "runtime": 1.0})

        def full(handle: int, content: bytes) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(SimulationError, match="No space left on device"):
            wrapper({"x": 1, "runtime": 1.0})
        monkeypatch.undo()
        with pytest.raises(SimulationError, match="cannot be written"):
            wrapper({"x": 2, "runtime": 1.0})
        assert wrapper.get_results()["loss"] == [0]
