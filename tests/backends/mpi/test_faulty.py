"""Run-functions that hang, end or confuse their rank: the right job is blamed, and nobody waits for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from .engines import Ended, Engine
from .test_mpi import RUNNER, said

PROGRAMS = str(Path(__file__).with_name("faulty.py"))

pytestmark = pytest.mark.slow


def on_root(engine: Engine, name: str, cwd: Path, ranks: int = 3) -> Ended:
    return engine.run(ranks, *RUNNER, PROGRAMS, name, cwd=cwd)


def test_the_job_that_hangs_in_c_code_is_the_one_that_fails(engine: Engine, tmp_path: Path) -> None:
    ended = on_root(engine, "blames", tmp_path)
    assert said(ended) == [{"bad": bad, "failed": [(bad, "F_timeout")]} for bad in (3, 18)], ended.err
    assert ended.code == 0


def test_jobs_behind_one_that_hangs_in_c_code_go_elsewhere_at_once(engine: Engine, tmp_path: Path) -> None:
    ended = on_root(engine, "leads_elsewhere", tmp_path)
    assert said(ended) == [{"failed": [(3, "F_timeout")]}], ended.err


def test_jobs_do_not_wait_for_ever_for_ranks_that_all_hang(engine: Engine, tmp_path: Path) -> None:
    ended = on_root(engine, "loses_all", tmp_path)
    first, again = said(ended)
    assert first["got"] == ["F_timeout", "F_timeout", *["F_worker_died"] * 10], ended.err
    assert "All ranks that run jobs (1, 2)" in first["error"]
    assert again == {"again": 10.0}
    assert ended.code == 0


def test_values_travel_in_pieces_whatever_their_size(engine: Engine, tmp_path: Path) -> None:
    ended = engine.run(3, PROGRAMS, "pieces", cwd=tmp_path)
    assert said(ended) == [{"same": True, "count": 62, "big": True}], ended.err
    assert ended.code == 0


def test_a_result_that_cannot_be_sent_is_a_failure_of_its_job(engine: Engine, tmp_path: Path) -> None:
    ended = on_root(engine, "too_large", tmp_path, 2)
    (fact,) = said(ended)
    assert fact["got"] == [0.0, "F_unpicklable", 4.0], ended.err
    assert "320,0" in fact["error"]
    assert "MemoryError" in fact["error"]


@pytest.mark.parametrize(
    ("name", "before", "words"),
    [
        ("leaves", [{"child": 7.0}], "the run-function, in job 0.1, called os._exit(0)"),
        ("leaves_by_c", [{"child": 7.0}], "the run-function, in job 0.1, called exit() of C, which ends"),
        ("leaves_by_c_without_its_connection", [], "the run-function, in job 0.0, called exit() of C, which ends its"),
        ("finalizes", [], "the run-function, in job 0.3, called MPI.Finalize()"),
        ("raises_later", [{"got": 1}], "too late for its job"),
    ],
)
def test_what_ends_a_rank_ends_the_program_with_a_word_and_an_exit_code(
    engine: Engine, tmp_path: Path, name: str, before: list[object], words: str
) -> None:
    ended = on_root(engine, name, tmp_path)
    assert said(ended) == before, ended.err
    assert ended.code != 0
    assert words in ended.err
    assert "the MPI launcher has not ended the others" not in ended.err


@pytest.mark.parametrize(("who", "before"), [("a rank", []), ("root", [{"got": 1.0}])])
def test_a_death_that_the_launcher_cannot_see_ends_the_program(
    engine: Engine, tmp_path: Path, who: str, before: list[object]
) -> None:
    ended = engine.run(3, *RUNNER, PROGRAMS, "dies_beside_a_child", who, cwd=tmp_path)
    assert said(ended) == before, ended.err
    assert ended.code != 0
    if engine.name == "mpich":  # Open MPI's launcher waits for the processes themselves
        words = "It ran the search." if who == "root" else "It ran job 0.0."
        assert words in ended.err
        assert "ended 5 s ago, and the MPI launcher has not ended the others" in ended.err


def test_a_job_that_kills_its_rank_at_each_resume_is_given_up(engine: Engine, tmp_path: Path) -> None:
    for _ in range(8):  # two would do if the launcher never ended the root before it had recorded the job's start
        ended = on_root(engine, "killer", tmp_path)
        if said(ended):
            break
        assert ended.code != 0
    (fact,) = said(ended)
    assert fact["got"] == [0.0, 2.0, "F_worker_died", 6.0, 8.0], ended.err
    assert fact["error"].startswith("given up: it ran 2 times")
    assert ended.code == 0


def test_isolated_a_job_that_killed_a_rank_runs_and_costs_its_process(engine: Engine, tmp_path: Path) -> None:
    assert on_root(engine, "killer", tmp_path, 2).code != 0
    ended = engine.run(2, *RUNNER, PROGRAMS, "killer", "isolated", cwd=tmp_path)
    (fact,) = said(ended)
    assert fact["got"] == [0.0, 2.0, "F_worker_died", 6.0, 8.0], ended.err
    assert "SIGKILL" in fact["error"]
    assert ended.code == 0


def test_more_than_1024_open_files_hinder_no_rank_and_no_child_of_it(engine: Engine, tmp_path: Path) -> None:
    ended = on_root(engine, "many_files", tmp_path, 2)
    assert said(ended) == [{"got": 2.0, "error": None}] * 3, ended.err


def test_odd_jobs_answer_for_themselves_on_ranks_and_in_their_children(engine: Engine, tmp_path: Path) -> None:
    ended = on_root(engine, "odd_jobs", tmp_path, 2)
    on_rank, in_child = said(ended)
    assert on_rank["got"] == [(0.0, False), (3.0, True)], ended.err
    assert in_child["got"] == [(0.0, False), (3.0, True), ("F_worker_died", False)], ended.err
    assert f'File "{PROGRAMS}"' in in_child["error"]
    assert "in crash" in in_child["error"]
    assert "Extension modules" not in in_child["error"]
    assert ended.code == 0


def test_what_isolated_jobs_registered_with_atexit_has_time_and_is_told_when_it_is_cut(
    engine: Engine, tmp_path: Path
) -> None:
    ended = on_root(engine, "uploads", tmp_path, 2)
    assert (tmp_path / "uploaded").read_text() == "done", ended.err
    assert ended.err.count("had not ended 0.1 s after its last job, and was killed") == 1, ended.err
    (refused,) = said(ended)
    assert 'exit_timeout is 1.0: it is for the processes of isolation="process"' in refused["error"]
    assert ended.code == 0


def test_an_evaluator_whose_ranks_are_busy_for_another_says_which_jobs_they_run(engine: Engine, tmp_path: Path) -> None:
    ended = on_root(engine, "waits_for_ranks", tmp_path, 2)
    *warnings, got = said(ended)
    assert len(warnings) == 1, ended.err
    assert "has had no worker for 0.2 s" in warnings[0]["warning"]
    assert "Rank 1 of 2 has not said that it is ready" in warnings[0]["warning"]
    assert "rank 1 runs job 0.0 of another evaluator of this program" in warnings[0]["warning"]
    assert got == {"got": [4.0, 2.0], "said": True}
    assert ended.code == 0


def test_a_script_that_finalizes_mpi_itself_lets_all_ranks_go(engine: Engine, tmp_path: Path) -> None:
    ended = on_root(engine, "finalizes_at_the_end", tmp_path)
    assert said(ended) == [{"got": 2.0}, {"closed": 1}], ended.err
    assert ended.code == 0


SCRIPT = """
import enum, os, pickle, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "inserted"))
from beside import double
from inserted_module import triple
from evalpool import Evaluator
class Colour(enum.Enum):
    RED = 1
    BLUE = 2
class Point:
    def __init__(self, x):
        self.x = x
def run(job):
    again = pickle.loads(pickle.dumps(job["point"]))
    assert job["colour"] is Colour.RED and type(job["point"]) is Point is type(again)
    class Local(Point):
        pass
    return Colour.BLUE, Point(double(again.x) + triple(again.x)), Local(3.0)
if __name__ == "__main__":
    for isolation in (None, "process"):
        with Evaluator.create(run, "mpicomm", {"isolation": isolation, "job_type": "task"}) as evaluator:
            if evaluator.is_master:
                (job,) = evaluator.submit([{"colour": Colour.RED, "point": Point(2.0)}])
                evaluator.gather()
                colour, point, local = job.output or (None, None, None)
                print({"colour": colour is Colour.BLUE, "x": getattr(point, "x", job.error),
                       "point": type(point) is Point, "local": isinstance(local, Point) and local.x}, flush=True)
"""


@pytest.mark.parametrize("start", [RUNNER, ()])
def test_code_means_on_a_rank_what_it_means_in_the_script(
    engine: Engine, tmp_path: Path, start: tuple[str, ...]
) -> None:
    directory = tmp_path / "dir"
    (directory / "inserted").mkdir(parents=True)
    (directory / "script.py").write_text(SCRIPT)
    (directory / "beside.py").write_text("def double(x):\n    return 2 * x\n")
    (directory / "inserted" / "inserted_module.py").write_text("def triple(x):\n    return 3 * x\n")
    ended = engine.run(2, *start, "dir/script.py", cwd=tmp_path)
    assert said(ended) == [{"colour": True, "x": 10.0, "point": True, "local": 3.0}] * 2, ended.err
    assert ended.code == 0


@pytest.mark.parametrize("form", [(*RUNNER, PROGRAMS, "leaves"), (PROGRAMS, "leaves")])
def test_one_rank_of_several_tasks_is_told_that_launcher_and_library_do_not_match(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    ended = engine.run(1, *form, cwd=tmp_path)
    assert ended.code != 0
    for part in ("has started 4 tasks", "MPI library do not match", "mpirun -n 4", "--mpi=pmi2", "--mpi=pmix"):
        assert part in ended.err
    assert {"mpich": "MPICH Version", "openmpi": "Open MPI v"}[engine.name] in ended.err
