"""Programs under real mpirun, on MPICH and Open MPI: what they print, and how all their ranks end."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from evalpool import SerialEvaluator
from evalpool.storage import SQLiteStorage
from simulation.traces import SEARCHES, cells
from storage.redis_server import RedisServer

from .engines import Ended, Engine, finish

PROGRAMS = str(Path(__file__).with_name("programs.py"))
RUNNER = ("-m", "evalpool.mpi")

pytestmark = pytest.mark.slow


def said(ended: Ended) -> list[dict[str, Any]]:
    return [ast.literal_eval(line) for line in ended.out.splitlines() if line.startswith("{")]


def everywhere(engine: Engine, name: str, cwd: Path, ranks: int = 3) -> Ended:
    """All ranks run the program."""
    return engine.run(ranks, PROGRAMS, name, cwd=cwd)


def on_root(engine: Engine, name: str, cwd: Path, ranks: int = 3, *more: str) -> Ended:
    """The root alone runs the program."""
    return engine.run(ranks, *RUNNER, PROGRAMS, name, *more, cwd=cwd)


# Programs of which each ends its evaluators share a start of MPI, which takes seconds.
ON_ROOT = [
    "idle", "counts", "trace", "virtual", "compared", "reach", "unopened", "forces", "crashes", "below_a_rank",
    "steals_back", "storage_in_jobs", "wrong_arguments", "isolated", "evaluators_in_jobs",
]  # fmt: skip
EVERYWHERE = [
    "search",
    "twice",
    "evaluators_in_jobs",
    "virtual_everywhere",
    "together",
    "capped",
    "bad_root",
    "stacked",
    "storage",
]
BOUND = 110.0
"""Seconds for all of them; each takes a few at most."""


class Shared(NamedTuple):
    """How programs ended that ran one after the other, and in which folder."""

    ended: Ended
    folder: Path

    def said(self, name: str) -> list[dict[str, Any]]:
        """What one of them said."""
        facts = [fact for fact in said(self.ended) if fact["program"] == name]
        assert facts, f"{name} said nothing:\n{self.ended.err}"
        return [{key: value for key, value in fact.items() if key != "program"} for fact in facts]


@pytest.fixture(scope="module")
def root_alone(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Programs that the root alone has run."""
    folder = tmp_path_factory.mktemp("root-alone")
    return Shared(engine.run(3, *RUNNER, PROGRAMS, ",".join(ON_ROOT), cwd=folder, bound=BOUND), folder)


@pytest.fixture(scope="module")
def all_ranks(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Programs that all ranks have run."""
    folder = tmp_path_factory.mktemp("all-ranks")
    return Shared(engine.run(3, PROGRAMS, ",".join(EVERYWHERE), cwd=folder, bound=BOUND), folder)


@pytest.mark.timeout(240)
def test_programs_with_many_evaluators_one_after_the_other_end_well(root_alone: Shared, all_ranks: Shared) -> None:
    assert root_alone.ended.code == 0, root_alone.ended.err
    assert all_ranks.ended.code == 0, all_ranks.ended.err


def test_every_rank_runs_the_script_and_the_root_searches(all_ranks: Shared) -> None:
    assert {"sum": 9900.0, "workers": 2} in all_ranks.said("search")
    assert sorted(fact["after"] for fact in all_ranks.said("search") if "after" in fact) == [False, False, True]


def test_evaluators_follow_each_other_also_with_another_root(all_ranks: Shared) -> None:
    assert all_ranks.said("twice") == [{"sum": 90.0, "root": 0}, {"sum": 90.0, "root": 0}, {"sum": 90.0, "root": 1}]


def test_a_script_without_a_guard_runs_on_the_root_alone(engine: Engine, tmp_path: Path) -> None:
    ended = on_root(engine, "plain", tmp_path, 3, "--depth", "3")
    assert ended.code == 0, ended.err
    assert said(ended) == [{"sum": 9900.0, "argv": ["--depth", "3"]}]


def test_results_are_those_of_serial(root_alone: Shared) -> None:
    assert root_alone.said("trace") == [{"same": True}]


@pytest.mark.parametrize("start", [everywhere, on_root])
@pytest.mark.parametrize(
    ("name", "code", "text"),
    [("raises", 1, "went wrong"), ("raises_while_jobs_hang", 1, "went wrong"), ("exits", 7, "")],
)
def test_however_a_search_ends_all_ranks_end_and_the_exit_code_says_it(
    engine: Engine, tmp_path: Path, name: str, code: int, text: str, start: Any
) -> None:
    ended = start(engine, name, tmp_path)
    assert ended.code == code, ended.err
    assert text in ended.err


def test_an_evaluator_that_nobody_closed_lets_its_ranks_go_at_the_end(engine: Engine, tmp_path: Path) -> None:
    ended = everywhere(engine, "forgets_to_close", tmp_path)
    assert ended.code == 0, ended.err
    assert said(ended) == [{"got": 2.0}]


def test_ctrl_c_ends_all_ranks(engine: Engine, tmp_path: Path) -> None:
    process = engine.start(3, *RUNNER, PROGRAMS, "interrupted", cwd=tmp_path)
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any("ready" in line for line in lines)
    ranks = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    ended = finish(process)
    assert ended.code != 0
    _, alive = psutil.wait_procs(ranks, timeout=10)
    assert alive == []


def test_an_interrupt_of_the_root_alone_is_an_orderly_end(engine: Engine, tmp_path: Path) -> None:
    process = engine.start(3, *RUNNER, PROGRAMS, "interrupted", cwd=tmp_path)
    assert process.stdout is not None
    root = next(ast.literal_eval(line)["ready"] for line in iter(process.stdout.readline, "") if "ready" in line)
    os.kill(root, signal.SIGINT)
    ended = finish(process)
    assert ended.code == 130, ended.err
    assert "KeyboardInterrupt" in ended.err


@pytest.mark.parametrize("how", ["SIGUSR1 from the launcher", "SIGTERM to every rank"])
def test_a_search_that_is_told_to_end_lets_its_ranks_go_and_can_be_resumed(
    engine: Engine, tmp_path: Path, how: str
) -> None:
    process = engine.start(3, *RUNNER, PROGRAMS, "told", cwd=tmp_path)
    assert process.stdout is not None
    assert any("ready" in line for line in iter(process.stdout.readline, ""))
    if how.startswith("SIGUSR1"):
        os.kill(process.pid, signal.SIGUSR1)
    else:
        for rank in psutil.Process(process.pid).children(recursive=True):
            if "python" in rank.name():
                rank.terminate()
    number = signal.SIGUSR1 if how.startswith("SIGUSR1") else signal.SIGTERM
    ended = finish(process)
    assert ended.code == 128 + number, ended.err
    with SQLiteStorage(tmp_path / "told.db") as storage:
        assert [record.status.value for record in storage.records("0")] == ["DONE", *["READY"] * 5]
        with SerialEvaluator(lambda job: 2.0, storage=storage, search_id="0") as evaluator:
            assert evaluator.resume() == 5
            assert sorted(job.objective for job in evaluator.gather()) == [1.0, *[2.0] * 5]


@pytest.mark.parametrize("start", [RUNNER, ()])
def test_ctrl_c_of_a_launcher_that_makes_sigterm_of_it_suspends_the_search(
    engine: Engine, tmp_path: Path, start: tuple[str, ...]
) -> None:
    process = engine.start(3, *start, PROGRAMS, "ctrl_c", cwd=tmp_path)
    assert process.stdout is not None
    root = next(ast.literal_eval(line)["ready"] for line in iter(process.stdout.readline, "") if "ready" in line)
    if engine.name == "openmpi":
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does: its ranks are in groups of their own
    else:
        os.kill(root, signal.SIGTERM)
    ended = finish(process)
    assert ended.code != 0
    with SQLiteStorage(tmp_path / "told.db") as storage:
        assert [record.status.value for record in storage.records("0")] == ["DONE", *["READY"] * 5], ended.err


def test_isolated_jobs_borrow_are_measured_retried_and_resumed(root_alone: Shared) -> None:
    first, second, last = root_alone.said("isolated")
    assert (first["left"], second) == (first["left"], {"again": first["left"], "left": 0})
    assert last == {
        "objectives": [0.0, 2.0, 4.0, 6.0], "seen": [f"seen 0.{n}" for n in range(4)], "measured": True
    }  # fmt: skip


def test_jobs_reach_every_storage_that_says_it_is_shared(engine: Engine, tmp_path: Path) -> None:
    with RedisServer.running() as server:
        ended = on_root(engine, "stores", tmp_path, 3, server.url)
    *shared, refused = said(ended)
    names = ["JournalStorage", "RedisStorage", "MPIStorage", "SQLiteStorage", "SharedMemoryStorage"]
    assert shared == [
        {"storage": name, "got": [0.0, 2.0, 4.0, 6.0], "seen": [0, 1, 2, 3], "records": 4} for name in names
    ], ended.err
    assert refused["storage"] == "MemoryStorage"
    assert "Use SharedMemoryStorage()" in refused["error"]


def test_simulated_time_is_the_same_as_on_serial(root_alone: Shared) -> None:
    facts = root_alone.said("virtual")
    assert {fact["name"] for fact in facts} == set(SEARCHES)
    assert all(fact["same"] and fact["jobs"] > 20 for fact in facts), facts


def test_each_cell_of_a_comparison_has_the_digest_that_it_has_on_serial(root_alone: Shared) -> None:
    (said,) = root_alone.said("compared")
    assert said["digests"] == cells("serial")
    assert len(set(said["digests"].values())) == 12


def test_simulated_time_passes_on_the_root_where_all_ranks_run_the_script(all_ranks: Shared) -> None:
    assert all_ranks.said("virtual_everywhere") == [{"ends": [2.0, 3.0]}]


def test_a_storage_of_ranks_is_refused_where_workers_are_no_ranks(root_alone: Shared) -> None:
    *errors, got = root_alone.said("reach")
    assert len(errors) == 2
    assert all("MPIStorage" in fact["error"] and "JournalStorage(directory)" in fact["error"] for fact in errors)
    assert got == {"got": 2.0}


def test_a_rank_opens_its_storage_when_a_job_asks_for_it(root_alone: Shared) -> None:
    assert root_alone.said("unopened") == [{"got": ["F_FileNotFoundError", 2.0]}]


def test_a_job_that_hangs_is_interrupted_and_its_rank_works_on(root_alone: Shared) -> None:
    assert root_alone.said("forces") == [{"got": ["F_timeout", 2.0]}]


def test_a_rank_that_nothing_reaches_is_ended_by_force_and_named(engine: Engine, tmp_path: Path) -> None:
    ended = on_root(engine, "is_unreachable", tmp_path, 2)
    assert said(ended) == [{"got": "F_timeout"}]
    assert ended.code != 0
    assert "Rank(s) 1 still run a job" in ended.err


def test_isolated_jobs_may_crash_and_hang(root_alone: Shared) -> None:
    assert root_alone.said("crashes") == [{"got": [0.0, "F_worker_died", "F_timeout", 6.0, 8.0, 10.0]}]


def test_a_process_below_a_rank_is_no_rank_and_may_use_mpi(root_alone: Shared) -> None:
    assert root_alone.said("below_a_rank") == [{"got": [(1.0, [], None)] * 2}] * 3


def test_who_waits_sleeps(root_alone: Shared) -> None:
    assert root_alone.said("idle") == [{"root": True, "rank": True}]


@pytest.mark.parametrize(
    ("way", "limits"),
    [
        # 66 to 97, 0.3, 0.3 and 88 to 96: as many jobs are sent at a time as came back
        ("as_a_search", {"calls": 130, "sent": 1.1, "received": 1.1, "bytes": 130}),
        # 25 to 27, 0.01, 0.01 and 80: as many to a message as are short; busy machines make them long
        ("in_bulk", {"calls": 36, "sent": 0.5, "received": 0.5, "bytes": 110}),
    ],
)
def test_messages_bytes_and_calls_per_job(root_alone: Shared, way: str, limits: dict[str, float]) -> None:
    """Of the root: as `tests/evaluator/test_work_per_job.py` counts them on the engines of one host."""
    counted = [fact for fact in root_alone.said("counts") if fact["way"] == way]
    assert all(fact[name] > 0 for fact in counted for name in limits)
    assert {name: min(fact[name] for fact in counted) <= limit for name, limit in limits.items()} == dict.fromkeys(
        limits, True
    ), counted


@pytest.mark.parametrize(("name", "woken"), [("wakes", [True, True, True]), ("sleeps_apart", [False, True, False])])
def test_ranks_of_one_host_wake_each_other_and_others_look_now_and_then(
    engine: Engine, tmp_path: Path, name: str, woken: list[bool]
) -> None:
    """Without wake-ups, the first program would take hours."""
    ended = everywhere(engine, name, tmp_path)
    assert ended.code == 0, ended.err
    facts = said(ended)
    assert {"all_done": True} in facts
    assert [
        fact["woken"] for fact in sorted((each for each in facts if "rank" in each), key=lambda each: each["rank"])
    ] == woken


def test_jobs_behind_a_long_one_go_to_an_idle_rank(root_alone: Shared) -> None:
    assert root_alone.said("steals_back") == [{"soon": True}]


def test_searches_on_all_ranks_hear_of_each_other_and_block_nobody(all_ranks: Shared) -> None:
    facts = sorted(all_ranks.said("together"), key=lambda fact: fact["rank"])
    assert [(fact["size"], fact["workers"], fact["once"]) for fact in facts] == [(3, 6, True)] * 3
    assert sorted(number for fact in facts for number in fact["own"]) == list(range(60))
    assert facts[2]["heard"] == 30
    assert [path.name for path in (all_ranks.folder / "together").glob("*.csv")] == ["table-0.csv"]


def test_the_cap_is_exact_over_all_ranks(all_ranks: Shared) -> None:
    assert sum(fact["submitted"] for fact in all_ranks.said("capped")) == 20


def test_an_error_of_the_root_alone_keeps_nobody_waiting(all_ranks: Shared) -> None:
    assert sorted(fact["error"] for fact in all_ranks.said("bad_root")) == [
        "BackendError",
        "BackendError",
        "BadArgument",
    ]


def test_distributed_stacks_in_every_order_and_counts_on_without_a_rank_that_fails(all_ranks: Shared) -> None:
    facts = all_ranks.said("stacked")
    assert sorted(str(fact["workers"]) for fact in facts if "objectives" not in fact) == ["4", "4", "None"]
    stacked = [fact for fact in facts if "objectives" in fact]
    assert stacked == [{"objectives": [7, 7], "workers": 6}] * 18


def test_a_log_on_the_root_serves_all_ranks_also_after_the_roots_last_line(all_ranks: Shared) -> None:
    assert all_ranks.said("storage") == [{"jobs": 60, "exact": True}]


def test_jobs_reach_the_log_on_the_root(root_alone: Shared) -> None:
    assert root_alone.said("storage_in_jobs") == [{"seen": list(range(10)), "results": 10}]


def test_wrong_arguments_say_what_to_do(root_alone: Shared) -> None:
    errors = [fact["error"] for fact in root_alone.said("wrong_arguments")]
    assert len(errors) == 5
    for error, part in zip(errors, ("mpirun -n 100", "ranks 0 to 2", "'thread'", "'world'", "busy_wait"), strict=True):
        assert part in error


def test_an_evaluator_or_a_storage_on_the_ranks_that_run_it_is_refused_in_a_job(
    root_alone: Shared, all_ranks: Shared
) -> None:
    for programs in (root_alone, all_ranks):
        facts = programs.said("evaluators_in_jobs")
        assert [fact["objective"] for fact in facts] == ["F_BackendError", "F_BackendError", 4.0]
        assert all('such as "process"' in fact["error"] for fact in facts[:2])


def test_different_versions_are_named_on_every_rank(engine: Engine, tmp_path: Path) -> None:
    from evalpool import __version__

    ended = everywhere(engine, "versions", tmp_path)
    errors = [fact["error"] for fact in said(ended)]
    assert len(errors) == 3, ended.err
    assert all("0.0.1" in error and __version__ in error for error in errors)


def test_a_thread_level_that_is_too_low_is_named(engine: Engine, tmp_path: Path) -> None:
    ended = everywhere(engine, "thread_level", tmp_path, 2)
    assert all("MPI_THREAD_FUNNELED" in fact["error"] for fact in said(ended))
    assert len(said(ended)) == 2


def test_one_rank_alone_is_told_how_to_start_several(engine: Engine, tmp_path: Path) -> None:
    for ended in (everywhere(engine, "search", tmp_path, 1), on_root(engine, "plain", tmp_path, 1)):
        assert ended.code != 0
        assert "mpirun -n 4 python -m evalpool.mpi" in ended.err


def test_importing_evalpool_neither_imports_mpi4py_nor_starts_mpi() -> None:
    code = (
        "import sys, evalpool; evalpool.MPICommEvaluator; import evalpool.mpi, evalpool.storage; "
        "evalpool.storage.MPIStorage; "
        "sys.exit('mpi4py' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
