"""The wrapper with callers in other processes: real pools, real programs, real kills. Nobody hangs."""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from evalpool._net._connect import connect
from evalpool._net._proof import ProofFailed
from evalpool._net._sockets import kind_of, reach
from evalpool.errors import MemberLost, SimulationError, TooManyCallers, WaitedTooLong
from evalpool.simulation import ObjectiveFuncWrapper, get_multiple_wrappers
from evalpool.simulation._protocol import CallerChannel

from .callers import SENTINEL, by_worker, call_until_the_end, declared, die, in_line, in_threads

ROOT = Path(__file__).parents[2]
BOUND = 60.0
METHODS = ("fork", "spawn")


def expected(workers: int, count: int) -> list[tuple[float, int]]:
    """Ends and workers, from each caller's own sums."""
    ends = []
    for worker in range(workers):
        now = 0.0
        for number in range(count):
            now = now + declared(worker, number) + by_worker(worker, number)["runtime"]
            ends.append((now, worker))
    return sorted(ends)[:count]


def completions(results: dict[str, list[Any]]) -> list[tuple[float, int]]:
    return list(zip(results["cumtime"], results["index"], strict=True))


class Children:
    """Processes that are ended with the test, whatever happens."""

    def __init__(self, method: str) -> None:
        self.context: Any = multiprocessing.get_context(method)
        self.processes: list[Any] = []

    def start(self, target: Any, *args: Any) -> Any:
        process = self.context.Process(target=target, args=args)
        process.start()
        self.processes.append(process)
        return process

    def join(self) -> list[int | None]:
        for process in self.processes:
            process.join(BOUND)
            assert process.exitcode is not None, "a caller hangs"
        return [process.exitcode for process in self.processes]

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()
            process.close()


@pytest.fixture
def fork() -> Iterator[Children]:
    children = Children("fork")
    yield children
    children.kill()


@pytest.fixture(params=METHODS)
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    children = Children(request.param)
    yield children
    children.kill()


def make(tmp_path: Path, objective: Any = in_line, **settings: Any) -> ObjectiveFuncWrapper:
    settings = {"n_workers": 2, "n_evals": 20, "overhead": "none", "save_dir_name": "run", **settings}
    return ObjectiveFuncWrapper(
        objective,
        tmp_dir=str(tmp_path),
        **{"n_actual_evals_in_opt": settings["n_evals"] + settings["n_workers"], **settings},
    )


# Everybody comes.


@pytest.mark.slow
def test_processes_with_a_worker_each_complete_exactly_as_threads_do(tmp_path: Path, children: Children) -> None:
    wrappers = get_multiple_wrappers(in_line, "run", 3, 34, 30, tmp_dir=str(tmp_path), overhead=declared)
    for worker, wrapper in enumerate(wrappers):
        children.start(call_until_the_end, wrapper, worker)
    assert children.join() == [0, 0, 0]
    assert completions(wrappers[0].get_results()) == expected(3, 30)
    wrappers[0].close()


def call_with_worker(wrapper: ObjectiveFuncWrapper) -> None:
    call_until_the_end(wrapper, os.getpid() % 7)


@pytest.mark.slow
def test_processes_share_one_wrapper(tmp_path: Path, children: Children) -> None:
    with make(tmp_path) as wrapper:
        for _ in range(2):
            children.start(call_with_worker, wrapper)
        assert children.join() == [0, 0]
        results = wrapper.get_results()
    assert results["cumtime"] == sorted(results["cumtime"])
    assert len(results["loss"]) == 20
    assert set(results["index"]) == {0, 1}


def one_call(wrapper: ObjectiveFuncWrapper, number: int) -> dict[str, Any]:
    return wrapper({"x": number, "runtime": (number * 5 % 9) / 4})


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_multiprocessing_pool_calls_it(tmp_path: Path, method: str) -> None:
    with make(tmp_path) as wrapper, multiprocessing.get_context(method).Pool(2) as pool:
        tasks = [pool.apply_async(one_call, (wrapper, number)) for number in range(22)]
        losses = [task.get(BOUND)["loss"] for task in tasks]
        results = wrapper.get_results()
        assert losses.count(SENTINEL) == 2
        assert sorted(results["loss"]) == sorted(loss for loss in losses if loss != SENTINEL)
        assert results["cumtime"] == sorted(results["cumtime"])
        pool.close()
        pool.join()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_process_pool_executor_calls_it(tmp_path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    with make(tmp_path) as wrapper:
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            futures = [pool.submit(one_call, wrapper, number) for number in range(22)]
            losses = [future.result(BOUND)["loss"] for future in futures]
        assert losses.count(SENTINEL) == 2
        assert len(wrapper.get_results()["loss"]) == 20


@pytest.mark.slow
def test_joblib_calls_it(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    from joblib.externals.loky import get_reusable_executor

    with make(tmp_path) as wrapper:
        results = joblib.Parallel(n_jobs=2, batch_size=1)(
            joblib.delayed(one_call)(wrapper, number) for number in range(22)
        )
        assert [result["loss"] for result in results].count(SENTINEL) == 2
        assert len(wrapper.get_results()["loss"]) == 20
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


@pytest.mark.slow
def test_threads_here_and_processes_are_callers_of_one_run(tmp_path: Path, fork: Children) -> None:
    wrappers = get_multiple_wrappers(in_line, "run", 3, 34, 30, tmp_dir=str(tmp_path), overhead=declared)
    fork.start(call_until_the_end, wrappers[2], 2)
    in_threads([lambda: call_until_the_end(wrappers[0], 0), lambda: call_until_the_end(wrappers[1], 1)])
    assert fork.join() == [0]
    assert completions(wrappers[0].get_results()) == expected(3, 30)
    wrappers[0].close()


def epochs(eval_config: dict[str, Any], fidels: Any = None, seed: Any = None) -> dict[str, float]:
    return {"loss": seed, "runtime": float(fidels["epoch"])}


def climb(wrapper: ObjectiveFuncWrapper, worker: int) -> None:
    for number in range(100):
        result = wrapper({"x": number // 3}, fidels={"epoch": (1, 3, 9)[number % 3]}, config_id=number // 3)
        if result["loss"] >= SENTINEL and result["runtime"] >= SENTINEL:
            return
    raise AssertionError("it never ended")


@pytest.mark.slow
def test_continuation_is_the_same_in_threads_and_processes(tmp_path: Path, fork: Children) -> None:
    runs = []
    for name in ("threads", "processes"):
        wrappers = get_multiple_wrappers(
            epochs, name, 2, 34, 30, ["epoch"], seed=1, continual_max_fidel=9, tmp_dir=str(tmp_path), overhead=declared
        )
        if name == "threads":
            in_threads([lambda w=wrapper, i=i: climb(w, i) for i, wrapper in enumerate(wrappers)])
        else:
            for worker, wrapper in enumerate(wrappers):
                fork.start(climb, wrapper, worker)
            assert fork.join() == [0, 0]
        runs.append(wrappers[0].get_results())
        wrappers[0].close()
    assert runs[0] == runs[1]
    assert len(set(runs[0]["loss"])) < 30, "some were continued, with the seed they began with"


@pytest.mark.slow
def test_a_second_pool_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    with make(tmp_path, n_evals=12) as wrapper:
        for _ in range(2):
            children = Children("fork")
            for worker in range(2):
                children.start(few_calls, wrapper, worker)
            assert children.join() == [0, 0]
            children.kill()
        results = wrapper.get_results()
    assert len(results["loss"]) == 12
    assert results["cumtime"] == sorted(results["cumtime"])


def few_calls(wrapper: ObjectiveFuncWrapper, worker: int) -> None:
    for number in range(3):
        wrapper(by_worker(worker, number))


@pytest.mark.slow
def test_an_expensive_sampler_lets_others_pass_across_processes(tmp_path: Path, fork: Children) -> None:
    passed = fork.context.Event()
    with make(tmp_path, n_evals=4, overhead="measured", expensive_sampler=True, max_waiting_time=30) as wrapper:
        fork.start(slow_thinker, wrapper, passed)
        fork.start(quick_thinker, wrapper, passed)
        assert fork.join() == [0, 0]
        cumtimes = wrapper.get_results()["cumtime"]
        assert 1.0 < cumtimes[0] < cumtimes[1] < 10.0


def slow_thinker(wrapper: ObjectiveFuncWrapper, passed: Any) -> None:
    wrapper({"x": 0, "runtime": 1.0})
    assert passed.wait(30)
    wrapper({"x": 1, "runtime": 9.0})


def quick_thinker(wrapper: ObjectiveFuncWrapper, passed: Any) -> None:
    wrapper({"x": 2, "runtime": 1.1})
    passed.set()
    wrapper({"x": 3, "runtime": 9.0})


@pytest.mark.slow
def test_an_earlier_run_that_is_closed_late_leaves_the_files_of_the_next_in_its_directory(
    tmp_path: Path, fork: Children
) -> None:
    earlier = make(tmp_path, n_workers=1, n_evals=2)
    fork.start(few_calls, earlier, 0)
    assert fork.join() == [0]
    shutil.rmtree(earlier.dir_name)
    with make(tmp_path, n_workers=1, n_evals=2) as wrapper:
        pickle.dumps(wrapper)  # it is about to go to a child
        earlier.close()
        fork.start(few_calls, wrapper, 0)
        assert fork.join() == [0, 0]
        assert len(wrapper.get_results()["loss"]) == 2


# Somebody dies, or does not come.


def dies_in_its_fourth(eval_config: dict[str, Any], fidels: Any = None, seed: Any = None) -> dict[str, float]:
    if eval_config["x"] == 1003:
        die()
    return in_line(eval_config)


def say(wrapper: ObjectiveFuncWrapper, worker: int, answers: Any) -> None:
    try:
        answers.put(len(call_until_the_end(wrapper, worker)))
    except SimulationError as error:
        answers.put(f"{type(error).__name__}: {error}")
    answers.close()
    answers.join_thread()


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "reported", "failures"), [("fail", 20, 1), ("leave", 20, 0)])
def test_a_caller_that_is_killed_fails_or_leaves_and_the_others_go_on(
    tmp_path: Path, children: Children, policy: str, reported: int, failures: int
) -> None:
    wrappers = get_multiple_wrappers(
        dies_in_its_fourth,
        "run",
        3,
        24,
        20,
        tmp_dir=str(tmp_path),
        overhead=declared,
        on_lost=policy,  # type: ignore[arg-type]
    )
    answers = children.context.Queue()
    for worker, wrapper in enumerate(wrappers):
        children.start(say, wrapper, worker, answers)
    assert isinstance(answers.get(timeout=BOUND), int)
    assert isinstance(answers.get(timeout=BOUND), int)
    assert children.join() == [0, -signal.SIGKILL, 0]
    losses = wrappers[0].get_results()["loss"]
    assert len(losses) == reported
    assert losses.count("F_worker_died") == failures
    log = Path(wrappers[0].dir_name, "completions.jsonl").read_text()
    assert ("died while its objective ran" in log) == (policy == "fail")
    wrappers[0].close()
    answers.close()


@pytest.mark.slow
def test_or_the_run_stops_and_names_it(tmp_path: Path, children: Children) -> None:
    wrappers = get_multiple_wrappers(
        dies_in_its_fourth, "run", 3, 24, 20, tmp_dir=str(tmp_path), overhead=declared, on_lost="raise"
    )
    answers = children.context.Queue()
    for worker, wrapper in enumerate(wrappers):
        children.start(say, wrapper, worker, answers)
    for _ in range(2):
        answer = answers.get(timeout=BOUND)
        assert answer.startswith("MemberLost: Worker 1 (process ")
        assert "died while its objective ran" in answer
    assert children.join() == [0, -signal.SIGKILL, 0]
    with pytest.raises(MemberLost, match="Worker 1"):
        wrappers[1]({"x": 0, "runtime": 1.0})
    wrappers[0].close()
    answers.close()


def waits_for_ever(wrapper: ObjectiveFuncWrapper, waiting: Any) -> None:
    wrapper({"x": 1, "runtime": 5.0})
    raise AssertionError("nobody else came")


@pytest.mark.slow
def test_the_result_of_one_that_is_killed_while_it_waits_is_kept(tmp_path: Path, fork: Children) -> None:
    wrappers = get_multiple_wrappers(in_line, "run", 2, 6, 4, tmp_dir=str(tmp_path), overhead="none")
    victim = fork.start(waits_for_ever, wrappers[1], None)
    host = wrappers[0]._run.host  # type: ignore[union-attr]
    assert host is not None
    eventually(lambda: bool(host.coordinator._waiting.calls))
    victim.kill()
    victim.join(BOUND)
    assert [wrappers[0]({"x": 0, "runtime": 2.0})["loss"] for _ in range(4)] == [0, 0, 0, SENTINEL]
    results = wrappers[0].get_results()
    assert results["loss"] == [0, 0, 1, 0]
    assert results["cumtime"] == [2.0, 4.0, 5.0, 6.0]
    wrappers[0].close()


def eventually(happens: Any) -> None:
    """The other process has to get there; nothing tells us when."""
    event, tries = threading.Event(), 0
    while not happens():
        tries += 1
        assert tries < 3000, "it never happened"
        event.wait(0.01)


def dies_once(eval_config: dict[str, Any], fidels: Any = None, seed: Any = None) -> dict[str, float]:
    if eval_config["x"] == 5:
        die()
    return in_line(eval_config)


POOL = """
import faulthandler, multiprocessing, sys
from contextlib import closing, suppress
from pathlib import Path
from tests.simulation.callers import SENTINEL
from tests.simulation.test_wrapper_processes import dies_once, make, one_call
faulthandler.dump_traceback_later(50, exit=True)
with make(Path(sys.argv[1]), dies_once, n_evals=20) as wrapper:
    pool = multiprocessing.get_context("fork").Pool(2)
    tasks = [pool.apply_async(one_call, (wrapper, number)) for number in range(24)]
    done = [task.get(40)["loss"] for number, task in enumerate(tasks) if number != 5]
    losses = wrapper.get_results()["loss"]
    print(done.count(SENTINEL) >= 2, len(losses), losses.count("F_worker_died"))
    pool.terminate()
    pool.join()
"""


@pytest.mark.slow
def test_who_replaces_a_worker_of_a_pool_takes_its_place(tmp_path: Path) -> None:
    # The pool forks the new worker from a thread of its own, so in a program that has no threads but ours: a fork while
    # some library's thread holds a lock leaves the child without whoever would release it.
    said = subprocess.run(
        [sys.executable, "-c", POOL, str(tmp_path)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=BOUND,
        check=False,
    )  # fmt: skip
    assert said.stdout == "True 20 1\n", said.stderr


@pytest.mark.slow
def test_one_too_few_is_named(tmp_path: Path, children: Children) -> None:
    wrappers = get_multiple_wrappers(
        in_line, "run", 3, 24, 20, tmp_dir=str(tmp_path), overhead=declared, max_waiting_time=2.0
    )
    answers = children.context.Queue()
    for worker in (0, 2):
        children.start(say, wrappers[worker], worker, answers)
    for _ in range(2):
        answer = answers.get(timeout=BOUND)
        assert answer.startswith("WaitedTooLong: ")
        assert "worker 1 of 3 never came, 2 did" in answer
    assert children.join() == [0, 0]
    wrappers[0].close()
    answers.close()


@pytest.mark.slow
def test_a_pool_with_another_number_of_workers_is_told(tmp_path: Path) -> None:
    with make(tmp_path, n_workers=3, max_waiting_time=1.0) as wrapper:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            task = pool.apply_async(one_call, (wrapper, 1))
            with pytest.raises(WaitedTooLong, match=r"worker 1, 2 of 3 never came, 1 did.*n_workers=3"):
                task.get(BOUND)
    with make(tmp_path, n_workers=1, save_dir_name="other") as wrapper:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            barrier = [pool.apply_async(one_call, (wrapper, number)) for number in range(20)]
            outcomes = []
            for task in barrier:
                try:
                    outcomes.append(task.get(BOUND)["loss"])
                except TooManyCallers as error:
                    outcomes.append(str(error))
        assert any("one caller too many" in str(outcome) for outcome in outcomes) or 0 in outcomes


def raises_in_its_fourth(eval_config: dict[str, Any], fidels: Any = None, seed: Any = None) -> dict[str, float]:
    if eval_config["x"] == 1003:
        raise ZeroDivisionError("in the objective")
    return in_line(eval_config)


def go_on_after_an_error(wrapper: ObjectiveFuncWrapper, worker: int, answers: Any) -> None:
    errors, number = 0, 0
    while True:
        try:
            if wrapper(by_worker(worker, number))["loss"] >= SENTINEL:
                break
        except ZeroDivisionError:
            errors += 1
        number += 1
    answers.put(errors)
    answers.close()
    answers.join_thread()


@pytest.mark.slow
def test_an_exception_is_raised_in_its_process_and_the_others_go_on(tmp_path: Path, children: Children) -> None:
    wrappers = get_multiple_wrappers(raises_in_its_fourth, "run", 3, 24, 20, tmp_dir=str(tmp_path), overhead=declared)
    answers = children.context.Queue()
    for worker, wrapper in enumerate(wrappers):
        children.start(go_on_after_an_error, wrapper, worker, answers)
    assert sorted(answers.get(timeout=BOUND) for _ in range(3)) == [0, 0, 1]
    assert children.join() == [0, 0, 0]
    assert wrappers[0].get_results()["loss"].count("F_ZeroDivisionError") == 1
    wrappers[0].close()
    answers.close()


# Programs.


class Programs:
    """Copies of `launched`, ended with the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.run = directory / "mfhpo-simulator-info" / "run"
        self.programs: list[subprocess.Popen[str]] = []

    def launch(self, worker: int, doing: str = "calls", **settings: Any) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "SETTINGS": json.dumps(settings),
        }
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.simulation.launched", str(self.directory), str(worker), doing],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.programs.append(program)
        return program

    def say(self) -> list[str]:
        said = []
        for program in self.programs:
            out, err = program.communicate(timeout=BOUND)
            assert "Traceback" not in err, err
            said.append(out.strip())
        return said

    def results(self) -> dict[str, list[Any]]:
        content: dict[str, list[Any]] = json.loads((self.run / "results.json").read_text())
        return content

    def coordinator(self) -> psutil.Process:
        return psutil.Process(json.loads((self.run / "coordinator.json").read_text())["pid"])

    def end(self) -> None:
        for program in self.programs:
            program.kill()
            program.communicate()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(tmp_path)
    yield programs
    programs.end()


@pytest.mark.slow
def test_programs_that_share_a_directory_complete_as_threads_do(programs: Programs) -> None:
    for worker in (2, 0, 1):
        programs.launch(worker)
    said = programs.say()
    assert sum(map(int, said)) == 30
    assert completions(programs.results()) == expected(3, 30)
    eventually(lambda: not (programs.run / "coordinator.json").exists())
    assert {path.name for path in programs.run.iterdir()} == {
        "completions.jsonl",
        "results.json",
        "simulated_cumtime.json",
        "start.lock",
        "state_cache.json",
        "timenow.json",
    }
    assert programs.launch(0).communicate(timeout=BOUND)[1].strip().endswith("give another save_dir_name.")
    programs.programs.pop()


@pytest.mark.slow
def test_mpi_ranks_are_programs_like_any_other(programs: Programs) -> None:
    # Not at the top: spawned workers of the other tests import this module from elsewhere.
    from backends.mpi.engines import ENGINES
    from services import missing

    engine = ENGINES["mpich"]
    try:
        engine.install()
    except subprocess.SubprocessError as error:
        missing("mpich", error)
    done = engine.run(3, "-m", "tests.simulation.launched", str(programs.directory), "rank", "calls", cwd=ROOT)
    assert sum(map(int, done.out.split())) == 30, done.err
    assert completions(programs.results()) == expected(3, 30)


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "failures"), [("fail", 1), ("leave", 0)])
def test_a_program_that_is_killed_fails_or_leaves(programs: Programs, policy: str, failures: int) -> None:
    for worker, doing in enumerate(["dies", "calls", "calls"]):
        programs.launch(worker, doing, on_lost=policy)
    said = programs.say()
    assert said[0] == ""
    losses = programs.results()["loss"]
    assert len(losses) == 30
    assert losses.count("F_worker_died") == failures


@pytest.mark.slow
def test_or_all_programs_stop_and_name_it(programs: Programs) -> None:
    for worker, doing in enumerate(["calls", "dies", "calls"]):
        programs.launch(worker, doing, on_lost="raise")
    said = programs.say()
    assert said[1] == ""
    assert said[0].startswith("MemberLost: Worker 1 (process ")
    assert said[0] == said[2]


@pytest.mark.slow
def test_an_exception_in_one_program(programs: Programs) -> None:
    for worker, doing in enumerate(["calls", "calls", "raises"]):
        programs.launch(worker, doing)
    said = programs.say()
    assert said[2] == "ZeroDivisionError: in the objective"
    losses = programs.results()["loss"]
    assert len(losses) == 30
    assert losses.count("F_ZeroDivisionError") == 1


@pytest.mark.slow
def test_one_program_too_few_is_named_in_all_others(programs: Programs) -> None:
    for worker in (0, 1):
        programs.launch(worker, max_waiting_time=3.0)
    for answer in programs.say():
        assert answer.startswith("WaitedTooLong: ")
        assert "worker 2 of 3 never came" in answer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("worker", "settings", "answer"),
    [
        (1, {"seed": 2}, "SimulationError: A caller has other settings than the first one: seed=2 instead of 1"),
        (0, {}, "needs a worker_index of its own"),
    ],
)
def test_a_program_that_does_not_fit_is_refused(
    programs: Programs, worker: int, settings: dict[str, Any], answer: str
) -> None:
    programs.launch(0, "hangs", on_lost="leave")
    eventually(lambda: (programs.run / "coordinator.json").exists())
    # The first is in its call as soon as the coordinator answers it: the lock is then free.
    refused = programs.launch(worker, **{"on_lost": "leave", **settings})
    assert answer in refused.communicate(timeout=BOUND)[0]
    programs.programs.remove(refused)


@pytest.mark.slow
def test_when_the_coordinator_is_killed_everybody_is_told_and_the_results_are_there(programs: Programs) -> None:
    for worker, doing in enumerate(["calls", "hangs", "calls"]):
        programs.launch(worker, doing)
    hanging = programs.programs.pop(1)
    assert hanging.stdout is not None
    assert hanging.stdout.readline() == "hangs\n"
    coordinator = programs.coordinator()
    coordinator.kill()
    for answer in programs.say():
        assert answer.startswith("MemberLost: The coordinator of the run in ")
    hanging.kill()
    hanging.communicate()
    lines = (programs.run / "completions.jsonl").read_text().splitlines()
    assert len(lines) > 3, "some had completed"
    late = programs.launch(0)
    assert late.communicate(timeout=BOUND)[0].startswith("SimulationError: The coordinator of the run in ")
    programs.programs.clear()


@pytest.mark.slow
def test_programs_that_come_after_all_others_have_left_go_on_from_there(programs: Programs) -> None:
    for _ in range(2):
        for worker in range(3):
            programs.launch(worker, "leaves")
        assert programs.say() == ["left"] * 3
        programs.programs.clear()
        eventually(lambda: not (programs.run / "coordinator.json").exists())
    assert (programs.run / "coordinator.state").exists()
    for worker in range(3):
        programs.launch(worker)
    assert sum(map(int, programs.say())) == 24
    assert len(programs.results()["loss"]) == 30
    assert not (programs.run / "coordinator.state").exists()


# Strangers.


@pytest.mark.slow
def test_who_does_not_know_the_key_is_refused_and_the_key_is_for_this_user_alone(
    tmp_path: Path, fork: Children
) -> None:
    with make(tmp_path, max_waiting_time=5.0) as wrapper:
        victim = fork.start(few_calls, wrapper, 0)
        contact = Path(wrapper.dir_name, "coordinator.json")
        assert stat.S_IMODE(contact.stat().st_mode) == 0o600
        address = json.loads(contact.read_text())["address"]
        with pytest.raises(ProofFailed, match="does not accept our proof"):
            connect(address, b"x" * 32, packets=True)
        with closing(reach(address, kind_of(address, True), BOUND)) as client:
            client.settimeout(BOUND)
            client.recv(100)
            with suppress(OSError):
                for _ in range(1000):  # 60 MB, if somebody took them
                    client.sendall(b"\xf0\xff\xff\xff\x02" + b"A" * 60_000)
                pytest.fail("what an unknown client sends is read without end")
        victim.kill()
        assert not contact.parent.joinpath("nothing").exists()
    assert not contact.exists()


def test_frames_of_nonsense_do_not_stop_the_coordinator() -> None:
    here, there = socket.socketpair()
    with here, there:
        channel = CallerChannel(here)
        there.sendall(b"\x03\x00\x00\x00\x07abc" + b"\x02\x00")
        assert channel.frames(channel.read()) == [(7, b"abc")]
        there.sendall(b"\x00\x00\x08de")
        assert channel.receive() == (8, b"de")
        assert channel.available() is None
        there.close()
        with pytest.raises(EOFError):
            channel.available()
