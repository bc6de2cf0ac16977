"""Programs of mfhpo-simulator after one changed import: each sentence about them, without mfhpo-simulator."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import services
from evalpool import EvalpoolError, simulation
from evalpool.compat import benchmark_simulator
from evalpool.compat.benchmark_simulator import (
    AbstractAskTellOptimizer,
    ObjectiveFuncType,
    ObjectiveFuncWrapper,
    get_multiple_wrappers,
    utils,
)

SENTINEL = float(1 << 30)


def objective(eval_config: dict[str, Any], fidels: Any = None, seed: Any = None) -> dict[str, float]:
    return {"loss": eval_config["x"], "runtime": eval_config.get("runtime", 1.0)}


def make(tmp_path: Path, function: Any = objective, **settings: Any) -> ObjectiveFuncWrapper:
    settings = {"n_workers": 1, "n_evals": 3, "overhead": "none", "save_dir_name": "run", **settings}
    calls = settings["n_evals"] + settings["n_workers"]
    return ObjectiveFuncWrapper(function, tmp_dir=str(tmp_path), **{"n_actual_evals_in_opt": calls, **settings})


def in_threads(*functions: Any) -> list[Any]:
    outcomes: list[Any] = [None] * len(functions)

    def run(number: int) -> None:
        try:
            outcomes[number] = functions[number]()
        except Exception as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


class InLine(AbstractAskTellOptimizer):
    def __init__(self) -> None:
        self.told: list[Any] = []

    def ask(self) -> tuple[Any, ...]:
        return {"x": len(self.told)}, None, None

    def tell(self, eval_config: Any, results: Any, *, fidels: Any = None, config_id: Any = None) -> None:
        self.told.append((results, fidels, config_id))


# Names.


def test_the_names_and_modules_are_those_of_mfhpo_simulator() -> None:
    real = services.package("benchmark_simulator")
    assert benchmark_simulator.__version__ == real.__version__
    assert set(benchmark_simulator.__all__) == {
        "AbstractAskTellOptimizer",
        "ObjectiveFuncType",
        "ObjectiveFuncWrapper",
        "get_multiple_wrappers",
    }
    assert AbstractAskTellOptimizer is simulation.AbstractAskTellOptimizer
    assert ObjectiveFuncType is simulation.ObjectiveFuncType
    for module in ("simulator", "utils", "_constants"):
        importlib.import_module(f"evalpool.compat.benchmark_simulator.{module}")
    assert set(utils.__all__) == {name for name in dir(utils) if name.startswith("get_")}
    ours, theirs = (package._constants._TIME_VALUES for package in (benchmark_simulator, real))  # programs import it
    assert (ours.terminated, ours.crashed) == (theirs.terminated, theirs.crashed)


def test_the_arguments_are_those_of_later_releases_in_their_order() -> None:
    real = services.package("benchmark_simulator")
    for name in ("ObjectiveFuncWrapper", "get_multiple_wrappers"):
        ours, theirs = (inspect.signature(getattr(package, name)).parameters for package in (benchmark_simulator, real))
        public = [parameter for parameter in theirs if not parameter.startswith("_")]
        assert list(ours)[: len(public)] == public
        assert [theirs[parameter].default for parameter in public] == [ours[parameter].default for parameter in public]


def test_the_room_stands_on_public_names() -> None:
    for path in Path(benchmark_simulator.__file__).parent.rglob("*.py"):
        for line in path.read_text("utf-8").splitlines():
            if "import" in line and "evalpool." in line:
                assert "evalpool.compat.benchmark_simulator" in line or "._" not in line, f"{path}: {line}"


# Files.


def test_the_files_exist_from_the_start_and_grow_with_each_call(tmp_path: Path) -> None:
    with make(tmp_path) as wrapper:
        directory = Path(tmp_path, "mfhpo-simulator-info", "run")
        assert wrapper.dir_name == str(directory)
        names = ["results.json", "sampled_time.json", "simulated_cumtime.json", "state_cache.json"]
        for name in names:
            assert json.loads(Path(directory, name).read_text()) == {}
        meeting = ("proc_alloc", "timestamp", "sample_waiting", "config_tracker")
        assert not any(Path(directory, f"{name}.json").exists() for name in meeting)
        for number in range(3):
            wrapper({"x": number})
            assert json.loads(Path(wrapper.result_file_path).read_text()) == {
                "loss": list(range(number + 1)),
                "cumtime": [1.0 + end for end in range(number + 1)],
                "worker_index": [0] * (number + 1),
            }
            assert len(json.loads(Path(wrapper.optimizer_overhead_file_path).read_text())["after_sample"]) > number
        assert wrapper({"x": 3}) == {"loss": SENTINEL, "runtime": SENTINEL}
        assert wrapper.get_results() == json.loads(Path(wrapper.result_file_path).read_text())
        assert wrapper.get_optimizer_overhead() == {
            "before_sample": [0.0, 1.0, 2.0],
            "after_sample": [0.0, 1.0, 2.0],
            "worker_index": [0, 0, 0],
        }
    assert not list(directory.glob(".*")) + list(directory.parent.glob(".*")), (
        "nothing is left of how they are replaced"
    )


def test_a_call_adds_to_the_files_and_does_not_write_them_anew(tmp_path: Path) -> None:
    class Counting(ObjectiveFuncWrapper):
        whole = 0

        def column_files(self) -> dict[str, dict[str, Any]]:
            self.whole += 1
            return super().column_files()

    settings = {"n_evals": 400, "n_actual_evals_in_opt": 401, "tmp_dir": str(tmp_path), "overhead": "none"}
    with Counting(objective, save_dir_name="run", n_workers=1, **settings) as wrapper:
        for number in range(400):
            wrapper({"x": number / 3})
            if number % 40 == 39:
                results = json.loads(Path(wrapper.result_file_path).read_text())
                assert results["loss"] == [n / 3 for n in range(number + 1)]
                assert results["cumtime"] == [float(n) for n in range(1, number + 2)]
                for name in ("sampled_time.json", "timenow.json"):
                    decisions = json.loads(Path(wrapper.dir_name, name).read_text())
                    assert decisions["after_sample"] == [float(n) for n in range(number + 1)]
                ends = json.loads(Path(wrapper.dir_name, "simulated_cumtime.json").read_text())
                assert ends == {"0": float(number + 1)}
        wrapper({"x": 0})
        assert wrapper.whole < 10
        assert "  " not in Path(wrapper.result_file_path).read_text(), "at the end no blanks are left"


def test_columns_that_come_later_and_states_are_in_the_files_of_the_run(tmp_path: Path) -> None:
    settings = {"fidel_keys": ["epoch"], "continual_max_fidel": 9, "store_config": True, "seed": 1}
    with make(tmp_path, n_evals=9, **settings) as wrapper:
        for number, (config, epoch) in enumerate([("a", 3), ("b", 3), ("b", 9), ("c", 3), ("d", 3), ("c", 9)]):
            wrapper({"x": 1, "kind": config, **({"late": 1} if number else {})}, fidels={"epoch": epoch})
            results = json.loads(Path(wrapper.result_file_path).read_text())
            assert set(map(len, results.values())) == {number + 1}
            states = json.loads(Path(wrapper.dir_name, "state_cache.json").read_text())
            assert states == wrapper.column_files()["state_cache.json"]
        assert results["late"] == [None, 1, 1, 1, 1, 1]
        assert results["prev_fidel"] == [0, 0, 3, 0, 0, 3]
        assert len(states) == 2


@pytest.mark.parametrize("left", ["{}", "", "[0, fal", "before"])
def test_a_caller_that_is_killed_while_it_writes_leaves_no_wrong_files(left: str, tmp_path: Path) -> None:
    with make(tmp_path, n_evals=9) as wrapper:
        written = Path(wrapper.dir_name, "evalpool", "written.json")
        for number in range(6):
            before = written.read_text() if number else ""
            wrapper({"x": number})
            written.write_text(before if left == "before" else left)  # what it would have told is lost
            assert json.loads(Path(wrapper.result_file_path).read_text())["loss"] == list(range(number + 1))
        assert wrapper.get_results()["loss"] == list(range(6))


def test_files_that_a_program_removes_do_not_come_back(tmp_path: Path) -> None:
    with make(tmp_path, n_evals=9) as wrapper:
        wrapper({"x": 1})
        Path(wrapper.result_file_path).unlink()
        wrapper({"x": 2})
        assert not Path(wrapper.result_file_path).exists()
        assert len(json.loads(Path(wrapper.optimizer_overhead_file_path).read_text())["after_sample"]) == 2
        shutil.rmtree(wrapper.dir_name)
        wrapper({"x": 3})
        assert not Path(wrapper.dir_name).exists()


def test_a_simulated_optimiser_leaves_its_files_at_the_end(tmp_path: Path) -> None:
    wrapper = make(tmp_path, ask_and_tell=True)
    assert not Path(wrapper.dir_name, "results.json").exists()
    wrapper.simulate(InLine())
    assert json.loads(Path(wrapper.result_file_path).read_text()) == wrapper.get_results()
    assert len(wrapper.get_results()["worker_index"]) == 3


def test_the_core_writes_once_at_the_end(tmp_path: Path) -> None:
    with simulation.ObjectiveFuncWrapper(
        objective, False, False, "run", 1, 4, 3, overhead="none", tmp_dir=str(tmp_path)
    ) as wrapper:
        wrapper({"x": 1})
        assert not Path(wrapper.result_file_path).exists()


@pytest.mark.slow
def test_writing_is_no_thinking_of_the_caller(tmp_path: Path) -> None:
    class Slow(ObjectiveFuncWrapper):
        def after_evaluation(self) -> None:
            super().after_evaluation()
            threading.Event().wait(0.2)

    settings = {"n_workers": 1, "n_evals": 3, "n_actual_evals_in_opt": 4, "tmp_dir": str(tmp_path)}
    with Slow(objective, save_dir_name="run", **settings) as wrapper:
        for number in range(3):
            wrapper({"x": number, "runtime": 10.0})
        cumtimes = wrapper.get_results()["cumtime"]
    assert cumtimes[2] - cumtimes[0] < 20.2


@pytest.mark.slow
def test_the_last_of_many_callers_leaves_the_newest_files(tmp_path: Path) -> None:
    with make(tmp_path, n_workers=8, n_evals=80) as wrapper:

        def caller() -> None:
            while wrapper({"x": 1})["loss"] < SENTINEL:
                pass

        assert in_threads(*[caller] * 8) == [None] * 8
        assert len(json.loads(Path(wrapper.result_file_path).read_text())["loss"]) == 80


def test_a_copy_in_another_process_keeps_the_same_files(tmp_path: Path) -> None:
    with make(tmp_path) as wrapper:
        copy = pickle.loads(pickle.dumps(wrapper))
        copy({"x": 1})
        assert copy.dir_name == wrapper.dir_name
        assert wrapper.get_results()["loss"] == [1]


def test_an_existing_directory_is_refused_but_for_an_optimiser_that_is_simulated_again(tmp_path: Path) -> None:
    make(tmp_path).close()
    with pytest.raises(FileExistsError, match="Remove it first"):
        make(tmp_path)
    with pytest.raises(FileExistsError):
        get_multiple_wrappers(objective, "run", 1, 4, 3, tmp_dir=str(tmp_path))
    for times in (1, 2, 3):
        wrapper = make(tmp_path, ask_and_tell=True, save_dir_name="asks", n_evals=times)
        wrapper.simulate(InLine())
        assert len(wrapper.get_results()["loss"]) == times


def test_one_wrapper_for_each_worker(tmp_path: Path) -> None:
    wrappers = get_multiple_wrappers(objective, "run", 2, 8, 6, tmp_dir=str(tmp_path), overhead="none")
    assert [type(wrapper) for wrapper in wrappers] == [ObjectiveFuncWrapper] * 2

    def caller(wrapper: ObjectiveFuncWrapper) -> None:
        while wrapper({"x": 1})["loss"] < SENTINEL:
            pass

    assert in_threads(*[lambda wrapper=wrapper: caller(wrapper) for wrapper in wrappers]) == [None, None]
    assert wrappers[0].get_results() == wrappers[1].get_results()
    assert sorted(wrappers[0].get_results()["worker_index"]) == [0, 0, 0, 1, 1, 1]
    wrappers[0].close()


# What optimisers and callers are told.


def test_tell_gets_an_empty_dict_where_there_are_no_fidelities(tmp_path: Path) -> None:
    optimizer = InLine()
    make(tmp_path, ask_and_tell=True).simulate(optimizer)
    assert optimizer.told[0] == ({"loss": 0, "runtime": 1.0}, {}, None)


def test_of_two_that_end_at_the_same_time_the_number_of_the_worker_decides(tmp_path: Path) -> None:
    runtimes = {0: [4.0, 2.0], 1: [2.0, 4.0]}
    wrappers = get_multiple_wrappers(objective, "run", 2, 6, 4, tmp_dir=str(tmp_path), overhead="none")

    def caller(worker: int) -> None:
        for runtime in runtimes[worker]:
            wrappers[worker]({"x": worker, "runtime": runtime})
        wrappers[worker]({"x": worker, "runtime": 9.0})

    assert in_threads(*[lambda worker=worker: caller(worker) for worker in (0, 1)]) == [None, None]
    results = wrappers[0].get_results()
    assert (results["cumtime"], results["worker_index"]) == ([2.0, 4.0, 6.0, 6.0], [1, 0, 0, 1])
    wrappers[0].close()


@pytest.mark.slow
@pytest.mark.parametrize("here", [True, False])
def test_who_evaluates_as_others_give_up_gets_its_results_and_is_told_at_its_next_call(
    here: bool, tmp_path: Path
) -> None:
    gave_up, evaluating = threading.Event(), threading.Event()

    def function(eval_config: dict[str, Any], fidels: Any = None, seed: Any = None) -> dict[str, float]:
        if eval_config["x"] == 1:
            evaluating.set()
            assert gave_up.wait(60)
        return objective(eval_config)

    core = functools.partial(simulation.ObjectiveFuncWrapper, function, n_actual_evals_in_opt=5, tmp_dir=str(tmp_path))
    with (
        make(tmp_path, function, n_workers=2, max_waiting_time=0.3)
        if here
        else core(n_workers=2, n_evals=3, save_dir_name="run", overhead="none", max_waiting_time=0.3)
    ) as wrapper:
        calls: list[int] = []

        def waits() -> Any:
            assert evaluating.wait(60)
            try:
                return wrapper({"x": 0, "runtime": 9.0})
            finally:
                gave_up.set()

        def evaluates() -> Any:
            calls.append(wrapper({"x": 1})["loss"])
            return wrapper({"x": 2})

        waited, evaluated = in_threads(waits, evaluates)
    assert isinstance(waited, TimeoutError)
    assert isinstance(waited, EvalpoolError)
    assert calls == ([1] if here else []), "the core raises at once"
    assert isinstance(evaluated, InterruptedError)
    assert not isinstance(evaluated, TimeoutError)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_actual_evals_in_opt": 2}, "Cannot guarantee that optimziers will not hang"),
        (
            {"launch_multiple_wrappers_from_user_side": True, "save_dir_name": None},
            "When launch_multiple_wrappers_from_user_side is False",
        ),
    ],
)
def test_some_errors_begin_as_there(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(tmp_path, **settings)


def test_an_optimiser_without_tell_is_refused_with_the_words_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="opt must have `ask` and `tell`"):
        make(tmp_path, ask_and_tell=True).simulate(object())
    with pytest.raises(NotImplementedError):
        make(tmp_path, save_dir_name="called").simulate(object())


def test_a_program_that_declares_its_overhead_repeats(tmp_path: Path) -> None:
    with make(tmp_path, overhead=lambda worker, call: 0.5, careful_init=True) as wrapper:
        for number in range(3):
            wrapper({"x": number})
        assert wrapper.get_results()["cumtime"] == [1.5, 3.0, 4.5]


# Curves.


def test_curves_begin_without_a_value_where_there_is_none_yet(tmp_path: Path) -> None:
    paths = []
    for scale in (1, 2):
        wrapper = make(tmp_path, ask_and_tell=True, save_dir_name=str(scale))
        wrapper.simulate(InLine())
        paths.append([wrapper.dir_name])
    values, shares = utils.get_performance_over_time_with_same_time_scale([paths], log=False, step_avg_rank=5)
    assert shares.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert values.shape == (1, 2, 5)
    assert np.isinf(values[..., 0]).all(), "mfhpo-simulator has the last value there"
