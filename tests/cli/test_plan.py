"""``evalpool plan``: how many workers a search can feed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from evalpool import SerialEvaluator
from evalpool.benchmarks import RuntimeModel, plan
from evalpool.cli import main
from evalpool.simulation import Distribution, WorkerModel


@pytest.fixture(autouse=True)
def in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_declared_search_is_that_of_plan(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["plan", "--ask", "0.5,0.001", "--tell", "0.1", "--runtime", "10", "--max-evals", "100", "--workers"]
    assert main([*command, "1,8", "--searches", "1", "--dispatch", "0.01", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    from evalpool.benchmarks import SearchTimes

    times = SearchTimes(lambda n: 0.5 + 0.001 * n, 0.1)
    found = plan(times, 10.0, workers=[1, 8], max_evals=100, dispatch=0.01)
    assert said["rows"] == [row._asdict() for row in found.rows]
    assert (said["useful_workers"], said["limit"]) == (found.useful_workers, found.limit)
    assert main([*command, "1,8", "--dispatch", "0.01"]) == 0
    assert capsys.readouterr().out == f"{found}\nMean runtime 10 s; 10 ms to bring a job and its result.\n"


def test_times_may_have_units(capsys: pytest.CaptureFixture[str]) -> None:
    rows = []
    for ask, tell, runtime, dispatch, away in (
        ("500ms,1ms", "0.1s", "1m,0.5", "10ms", "2min"),
        ("0.5,0.001", "0.1", "60,0.5", "0.01", "120"),
    ):
        command = ["plan", "--ask", ask, "--tell", tell, "--runtime", runtime, "--dispatch", dispatch, "--workers", "4"]
        assert main([*command, "--max-evals", "20", "--preempted-after", "5m", "--away", away, "--json"]) == 0
        rows.append(json.loads(capsys.readouterr().out)["rows"])
    assert rows[0] == rows[1]


def test_runtimes_come_from_a_store(capsys: pytest.CaptureFixture[str]) -> None:
    with SerialEvaluator(lambda job: 1.0, storage="sqlite:///results.db") as evaluator:
        evaluator.submit([{"n": n} for n in range(5)])
        jobs = evaluator.gather("ALL")
    seconds = [job.metadata["timestamp_end"] - job.metadata["timestamp_start"] for job in jobs]
    command = ["plan", "--ask", "0", "--runtimes-from", "results.db", "--max-evals", "5", "--workers", "1", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["makespan"] == pytest.approx(sum(seconds))


def test_workers_fail_as_the_options_say(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["plan", "--ask", "0.5", "--runtime", "10,0.5", "--max-evals", "60", "--workers", "4"]
    failing = ["--start-delay", "20,0.5", "--crash", "0.1", "--preempted-after", "5m", "--away", "30", "--retries", "2"]
    assert main([*command, *failing, "--worker-seed", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    model = WorkerModel(
        start_delay=Distribution.lognormal(20.0, 0.5, seed=3),
        crash=0.1,
        crash_seed=3,
        preempted_after=Distribution.exponential(300.0, seed=3),
        away=30.0,
    )
    runtimes = RuntimeModel.lognormal(10.0, 0.5)
    found = plan(0.5, runtimes, workers=[4], max_evals=60, worker_model=model, retries=2)
    assert said["rows"] == [row._asdict() for row in found.rows]
    assert said["rows"][0]["lost"] > 0


@pytest.mark.slow
def test_a_search_is_measured_on_a_benchmark_and_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    command = ["plan", "--search", "random", "--benchmark", "digits", "--results", "20", "--max-evals", "40"]
    assert main([*command, "--workers", "1,4", "--dispatch", "thread", "-o", "plan.png"]) == 0
    out = capsys.readouterr().out
    assert "are extrapolated" in out
    assert Path("plan.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_has_a_row_for_each_number_of_workers() -> None:
    command = ["plan", "--ask", "0.5", "--runtime", "10,0.5", "--max-time", "10m", "--workers", "2,4", "-o", "plan.csv"]
    assert main(command) == 0
    with open("plan.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["workers"] for row in rows] == ["2", "4"]
    assert {row["makespan"] for row in rows} == {"600.0"}


@pytest.mark.slow
def test_the_published_experiment_is_done_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--reproduce", "adbo"]) == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert first == "1,920 workers, runtimes of N(60, 20) s, 3 h (arXiv 2207.00479: busy over 95 %)"
    assert len(rows) == 7
    assert rows[0].startswith("a search on each worker")
    assert rows[0].endswith("busy 100.0 %")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ask", "1", "--runtime", "1"], "give one of --max-evals and --max-time"),
        (["--runtime", "1", "--max-evals", "5"], "by --ask, or its name by --search"),
        (["--search", "random", "--max-evals", "5"], "give --benchmark, and no --tell"),
        (["--ask", "1", "--max-evals", "5"], "one of --runtime, --runtimes-from and --benchmark"),
        (["--ask", "x", "--runtime", "1", "--max-evals", "5"], "--ask has 'x'; give numbers of seconds"),
        (["--ask", "1", "--runtime", "1", "--max-evals", "5", "--workers", "1;2"], "--workers has '1;2'"),
        (["--ask", "1", "--runtime", "1", "--max-evals", "5", "--dispatch", "-1"], "dispatch is -1.0"),
        (["--ask", "1", "--runtime", "1", "--max-evals", "5", "-o", "a.txt"], "ends with .csv, .png, .svg, .pdf"),
        (["--ask", "1", "--runtimes-from", "none.db", "--max-evals", "5"], "there is no 'none.db'"),
        (["--reproduce", "adbo", "--runtime", "5"], "leave out --runtime"),
        (["--reproduce", "adbo", "--crash", "0.1", "--retries", "1"], "leave out --crash, --retries"),
        (["--ask", "1", "--runtime", "1", "--max-evals", "5", "--retries", "2"], "retries is 2 without a worker_model"),
        (["--ask", "1", "--runtime", "1", "--max-evals", "5", "--crash", "2"], "crash is 2.0; give the probability"),
        (["--reproduce", "adbo", "--workers", "5", "--dispatch", "1"], "leave out --workers, --dispatch"),
        (["--ask", "1", "--runtime", "1", "--max-evals", "5", "--results", "9"], "--results is 9, and no search is"),
        (["--ask", "1", "--runtime", "nan", "--max-evals", "5"], "--runtime is 'nan'; give seconds"),
    ],
)
def test_what_is_missing_or_wrong_is_said(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *words]) == 2
    assert message in capsys.readouterr().err
