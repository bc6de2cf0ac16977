"""Benchmarks on tables: exact and nearest look-ups, errors that name the row."""

from __future__ import annotations

import itertools
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalpool import RandomSearch, RunningJob, simulate
from evalpool.benchmarks import Benchmark, Fidelity, RuntimeModel
from evalpool.errors import BadArgument

ROWS = [
    {"x": x, "kind": kind, "loss": float(x * x + (kind == "b")), "runtime": 10.0 * x}
    for x in (1, 2, 4)
    for kind in ("a", "b")
]


def table(**more: Any) -> Benchmark:
    return Benchmark.from_table(**{"table": ROWS, "objectives": "loss", "maximize": False, **more})


def as_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    lines = [",".join(rows[0])] + [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_row_is_found_by_its_parameters() -> None:
    benchmark = table()
    assert benchmark.space == {"x": [1, 2, 4], "kind": ["a", "b"]}
    assert benchmark({"kind": "b", "x": 2}) == {"loss": 5.0, "runtime": 20.0, "objective": -5.0}
    assert benchmark({"kind": "b", "x": 2.0})["loss"] == 5.0
    assert benchmark.metadata == {"best": -1.0, "worst": -17.0}


def test_a_data_frame_a_csv_file_and_dicts_give_the_same(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = as_csv(tmp_path / "grid.csv", ROWS)
    made = [table(), table(table=pandas.DataFrame(ROWS)), table(table=path), table(table=str(path))]
    results = [simulate(RandomSearch(one, seed=0), one, num_workers=3, max_evals=20, seed=0) for one in made]
    assert len({result.trace_digest() for result in results}) == 1
    assert [one.name for one in made] == ["table", "table", "grid", "grid"]
    assert all(type(value) is int for value in made[1].space["x"])


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"x": 3, "kind": "a"}, r"is not in the table; nearest is row 2, \{'x': 2, 'kind': 'a'\}"),
        ({"x": 9, "kind": "b"}, r"nearest is row 5, \{'x': 4, 'kind': 'b'\}"),
        ({"x": 2}, r"lacks 'kind' and is not in the table; nearest is row 2"),
        ({"x": [2], "kind": "a"}, "has a value that no cell of a table can be"),
        ({"x": 2, "kind": "a", "depth": 1}, "has 'depth', and the table has no such parameter; it has 'x', 'kind'"),
    ],
)
def test_a_configuration_outside_the_table_is_told_the_nearest_row(configuration: Any, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        table()(configuration)


def test_a_simulated_search_outside_the_table_logs_why_its_jobs_fail(caplog: pytest.LogCaptureFixture) -> None:
    result = simulate(RandomSearch({"x": [3], "kind": ["a"]}), table(), max_evals=3)
    assert result.objectives == ["F_BadArgument"] * 3
    (message,) = [record.getMessage() for record in caplog.records]
    assert "nearest is row 2" in message


def test_the_message_names_the_line_of_a_file_and_the_label_of_a_frame(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(BadArgument, match=r"not in grid.csv; nearest is line 4 of grid.csv"):
        table(table=as_csv(tmp_path / "grid.csv", ROWS))({"x": 3, "kind": "a"})
    labelled = pandas.DataFrame(ROWS, index=[f"run-{number}" for number in range(6)])
    with pytest.raises(BadArgument, match="nearest is row 'run-2'"):
        table(table=labelled)({"x": 3, "kind": "a"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": None}, "the objective 'loss' is empty; it must be a finite number, or a text that begins with F"),
        ({"loss": float("nan")}, "'loss' is nan"),
        ({"loss": "oops"}, "'loss' is 'oops'"),
        ({"runtime": -1.0}, "the runtime 'runtime' is -1.0; it must be a finite number of at least 0"),
        ({"runtime": "3 min"}, "'runtime' is '3 min'"),
        ({"runtime": None}, "'runtime' is empty"),
    ],
)
def test_a_cell_that_is_no_number_is_refused_with_its_row(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    rows = [*ROWS[:3], {**ROWS[3], **change}, *ROWS[4:]]
    with pytest.raises(BadArgument, match=f"^row 3: .*{message}"):
        table(table=rows)
    if change.get("loss", 0.0) == change.get("loss", 0.0):  # a data frame has no other empty cell than NaN
        with pytest.raises(BadArgument, match=r"^line 5 of grid\.csv: "):
            table(table=as_csv(tmp_path / "grid.csv", rows))


def test_rows_that_repeat_an_evaluation_are_chosen_by_the_seed_of_the_job() -> None:
    rows = [{"x": 1, "objective": float(n), "runtime": 1.0} for n in range(5)]
    benchmark = Benchmark.from_table(rows)
    seen = {benchmark(RunningJob(parameters={"x": 1}, seed=seed))["objective"] for seed in range(5)}
    assert seen == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert benchmark(RunningJob(parameters={"x": 1}, seed=7))["objective"] == 2.0


def test_a_failure_in_the_table_is_a_failure_that_took_time() -> None:
    benchmark = Benchmark.from_table([{"x": 1, "objective": "F_oom", "runtime": 4.0}])
    result = simulate(RandomSearch(benchmark), benchmark, max_evals=2)
    assert (result.objectives, result.makespan) == (["F_oom", "F_oom"], 8.0)


def test_a_table_without_a_column_of_runtimes_has_none() -> None:
    rows = [{"x": 1, "objective": 1.0}]
    assert not Benchmark.from_table(rows).has_runtimes
    assert Benchmark.from_table(rows, runtime=RuntimeModel.constant(2.0))({"x": 1})["runtime"] == 2.0
    with pytest.raises(BadArgument, match="no column 'seconds' for the runtimes; it has 'x', 'objective'"):
        Benchmark.from_table(rows, runtime="seconds")


def test_minutes_become_seconds() -> None:
    rows = [{"x": 1, "objective": 1.0, "minutes": 2.0}]
    with pytest.raises(BadArgument, match="'minutes', which says 'min'"):
        Benchmark.from_table(rows, runtime="minutes")
    assert Benchmark.from_table(rows, runtime="minutes", runtime_unit="min")({"x": 1})["runtime"] == 120.0


def test_an_empty_cell_is_a_parameter_that_is_not_active(tmp_path: Path) -> None:
    rows = [
        {"optimizer": "sgd", "momentum": 0.9, "objective": 1.0, "runtime": 1.0},
        {"optimizer": "adam", "momentum": None, "objective": 2.0, "runtime": 1.0},
    ]
    for source in (rows, as_csv(tmp_path / "grid.csv", rows)):
        benchmark = Benchmark.from_table(source)
        assert benchmark({"optimizer": "adam"})["objective"] == 2.0
        assert benchmark({"optimizer": "adam", "momentum": None})["objective"] == 2.0
        assert benchmark({"optimizer": "sgd", "momentum": 0.9})["objective"] == 1.0


# Fidelities.

EPOCHS = [
    {"x": x, "epochs": epochs, "loss": x + 1.0 / epochs, "runtime": 1.0 * epochs}
    for x in (1, 2)
    for epochs in (1, 3, 9)
]


def test_the_levels_of_a_table_are_its_fidelities() -> None:
    benchmark = table(table=EPOCHS, fidelity="epochs")
    assert benchmark.fidelity == Fidelity("epochs", 1, 9, True, (1, 3, 9))
    assert benchmark.space == {"x": [1, 2]}
    assert benchmark({"x": 1})["runtime"] == 9.0
    assert benchmark.metadata == {"best": -(1 + 1 / 9), "worst": -(2 + 1 / 9)}  # of full evaluations
    with pytest.raises(BadArgument, match="'epochs' is 5; give one of 1, 3, 9"):
        benchmark({"x": 1, "epochs": 5})
    with pytest.raises(BadArgument, match="'epochs' of \\[1, 3, 9\\]"):
        table(table=EPOCHS, fidelity=Fidelity("epochs", 1, 27))


def test_the_rows_of_lower_fidelities_are_the_learning_curve() -> None:
    benchmark = table(table=EPOCHS, fidelity="epochs", curve=True)
    assert [tuple(point) for point in benchmark.curve({"x": 1, "epochs": 3})] == [(1, 2.0, 1.0), (3, 1 + 1 / 3, 3.0)]
    with pytest.raises(BadArgument, match="curve=True needs the fidelity"):
        table(curve=True)


# The nearest row.


def test_the_nearest_row_counts_in_ranges() -> None:
    benchmark = table(lookup="nearest")
    assert benchmark.space == {"x": (1, 4), "kind": ["a", "b"]}
    assert benchmark({"x": 3.2, "kind": "b"})["loss"] == 17.0
    assert benchmark({"x": 3, "kind": "b"})["loss"] == 5.0  # as near to 2 as to 4: the lower
    assert benchmark({"x": 100, "kind": "a"})["loss"] == 16.0


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"x": math.nan, "k": "a"}, "'x' is nan; give a finite number"),
        ({"x": math.inf, "k": "a"}, "'x' is inf; give a finite number"),
        ({"x": "1", "k": "a"}, "'x' is '1'; give a finite number"),
        ({"k": "a"}, "'x' is missing; give a finite number"),
        ({"x": 1.0}, "'k' is missing; give a value of its column"),
    ],
)
def test_no_row_is_near_to_what_is_missing_or_no_number(configuration: Any, message: str) -> None:
    rows = [{"x": x, "k": k, "objective": x} for x in (0.0, 1.0, 2.0) for k in "ab"]
    with pytest.raises(BadArgument) as caught:
        Benchmark.from_table(rows, lookup="nearest")(configuration)
    assert message in str(caught.value)


def test_names_of_columns_that_are_no_texts_are_made_texts() -> None:
    benchmark = Benchmark.from_table([{1: x, "objective": 2.0 * x} for x in (5, 6)])
    assert (benchmark.space, benchmark({"1": 6})["objective"]) == ({"1": [5, 6]}, 12.0)


def test_distances_can_be_logarithmic() -> None:
    rows = [{"rate": rate, "objective": rate, "runtime": 1.0} for rate in (1e-4, 1e-2, 1.0)]
    assert Benchmark.from_table(rows, lookup="nearest")({"rate": 0.3})["objective"] == 1e-2
    by_log = Benchmark.from_table(rows, lookup="nearest", space={"rate": (1e-4, 1.0, "log")})
    assert by_log({"rate": 0.3})["objective"] == 1.0
    assert by_log({"rate": 5e-4})["objective"] == 1e-4


def test_the_nearest_fidelity_counts_before_the_parameters() -> None:
    rows = [row for row in EPOCHS if row["x"] == 1 or row["epochs"] == 9]
    benchmark = table(table=rows, fidelity="epochs", lookup="nearest")
    assert benchmark({"x": 2, "epochs": 2})["runtime"] == 1.0  # 2 is as near to 1 as to 3: the lower
    assert benchmark({"x": 2, "epochs": 4})["loss"] == 1 + 1 / 3
    with pytest.raises(BadArgument, match="'epochs' is 10"):
        benchmark({"x": 2, "epochs": 10})


POINTS = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([0.0, 0.1, 0.5, 2.0]), st.sampled_from("ab")), min_size=1, unique=True
)


@given(points=POINTS, wanted=st.tuples(st.integers(-1, 7), st.floats(0, 2), st.sampled_from("abc")))
def test_no_row_is_nearer_than_the_nearest(points: list[Any], wanted: Any) -> None:
    rows = [{"x": x, "y": y, "kind": kind, "objective": n} for n, (x, y, kind) in enumerate(points)]
    found = points[
        Benchmark.from_table(rows, lookup="nearest")(dict(zip(("x", "y", "kind"), wanted, strict=True)))["objective"]
    ]

    def distance(point: Any) -> float:
        total = 0.0
        for axis in (0, 1):
            values = [one[axis] for one in points]
            total += ((point[axis] - wanted[axis]) / ((max(values) - min(values)) or 1.0)) ** 2
        return total + (point[2] != wanted[2])

    assert distance(found) == pytest.approx(min(map(distance, points)), abs=1e-12)


def test_a_table_goes_to_worker_processes_by_its_values() -> None:
    grid = [
        {"x": x, "y": y, "objective": x * y * 0.5, "runtime": 1.5} for x, y in itertools.product(range(100), range(100))
    ]
    benchmark = Benchmark.from_table(grid)
    again = pickle.loads(pickle.dumps(benchmark))
    assert again({"x": 3, "y": 4}) == benchmark({"x": 3, "y": 4})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"table": []}, "has no rows"),
        ({"table": 3}, "table is 3 of type int; give a pandas.DataFrame"),
        ({"table": [{"x": 1, "loss": 1.0}, 4]}, "row 1 of the table is 4"),
        ({"table": "no-such.csv"}, "there is no file 'no-such.csv'"),
        ({"objectives": "accuracy"}, "no column 'accuracy' for an objective; it has 'x', 'kind', 'loss', 'runtime'"),
        ({"fidelity": "epochs"}, "no column 'epochs' for the fidelity"),
        ({"fidelity": 3}, "fidelity is 3"),
        ({"parameters": ["x", "y"]}, "no column 'y' for a parameter"),
        ({"parameters": ["x", "loss"]}, "The parameters are 'x', 'loss'"),
        ({"parameters": []}, "The parameters are none"),
        ({"lookup": "interpolate"}, "lookup is 'interpolate'; give one of 'exact', 'nearest'"),
        ({"space": {"z": (0, 1)}}, "space has 'z'; the parameters are x, kind"),
    ],
)
def test_wrong_arguments_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        table(**settings)


def test_a_damaged_file_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    for text, message in [
        ("x,objective\n1,2\n3\n", "line 3 of grid.csv has 1 cells; the first line has 2"),
        ("x,x,objective\n1,1,2\n", "has a column twice"),
        ("", "has no rows"),
    ]:
        path.write_text(text)
        with pytest.raises(BadArgument, match=message):
            Benchmark.from_table(path)
    path.write_bytes(b"x,objective\n\xff,1\n")
    with pytest.raises(BadArgument, match="not a text in UTF-8"):
        Benchmark.from_table(path)
