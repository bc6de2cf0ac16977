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
from evalpool.benchmarks import Benchmark, Fidelity, RuntimeModel, load
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
        ({"loss": 10**400}, r"'loss' is 1\.0000e\+400; it must be a finite number"),
        ({"x": 10**400}, r"the parameter 'x' is 1\.0000e\+400; give a number up to 1e308"),
        ({"runtime": -1.0}, "the runtime 'runtime' is -1.0; it must be a finite number of at least 0"),
        ({"runtime": "3 min"}, "'runtime' is '3 min'"),
        ({"runtime": None}, "'runtime' is empty"),
        ({"runtime": 10**400}, "'runtime' is .*; it must be a finite number of at least 0"),
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
    inactive = [{**row, "momentum": math.nan if row["momentum"] is None else 0.9} for row in rows]
    for source in (rows, as_csv(tmp_path / "grid.csv", rows), inactive, as_csv(tmp_path / "nan.csv", inactive)):
        with pytest.warns(UserWarning, match="has 2 of the 4 combinations of its values"):
            benchmark = Benchmark.from_table(source)
        assert benchmark.space["momentum"] == [0.9, None]
        with pytest.raises(BadArgument, match="Propose only configurations of its rows"):
            benchmark({"optimizer": "adam", "momentum": 0.9})
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
        ({"objectives": []}, r"objectives of 'table' are \[\]; give a name"),
        ({"objectives": 3}, "objectives of 'table' are 3; give a name"),
        ({"maximize": None}, "maximize of 'table' is None; give True or False"),
        ({"metadata": 3}, "metadata of 'table' is 3; give a dict of facts"),
        ({"fidelity": 3}, "fidelity is 3"),
        ({"parameters": 3}, "parameters is 3; give the names of columns"),
        ({"parameters": ["x", "y"]}, "no column 'y' for a parameter"),
        ({"parameters": ["x", "loss"]}, "The parameters are 'x', 'loss'"),
        ({"parameters": []}, "The parameters are none"),
        ({"lookup": "interpolate"}, "lookup is 'interpolate'; give one of 'exact', 'nearest'"),
        ({"repetition": "seed"}, "no column 'seed' for the repetition"),
        ({"repetition": True}, "no column True for the repetition"),
        ({"repetition": "x", "parameters": ["x"]}, "The parameters are 'x'"),
        ({"repetition": "kind", "table": [*ROWS, ROWS[3]]}, "row 3 and row 6 are both the repetition {'kind': 'b'}"),
        ({"space": {"z": (0, 1)}}, "space has 'z'; the parameters are x, kind"),
        ({"space": 3}, "space is 3; give a dict"),
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


# Combinations that are missing.


def test_a_table_without_all_combinations_warns_and_its_error_says_how_many_there_are() -> None:
    rows = [{"x": n, "y": n * n, "kind": "ab"[n % 2], "objective": n, "runtime": 1.0} for n in range(6)]
    with pytest.warns(UserWarning, match=r"the table has 6 of the 72 combinations .* lookup='nearest'") as caught:
        benchmark = Benchmark.from_table(rows)
    assert caught[0].filename == __file__
    assert benchmark({"x": 2, "y": 4, "kind": "a"})["objective"] == 2
    with pytest.raises(BadArgument) as error:
        benchmark({"x": 2, "y": 1, "kind": "a"})
    assert "is not in the table, which has 6 of the 72 combinations of its values; nearest is row 2" in str(error.value)
    assert "Propose only configurations of its rows" in str(error.value)
    # What does not choose among these combinations says nothing: pytest makes warnings errors.
    Benchmark.from_table(rows, lookup="nearest")
    Benchmark.from_table(rows, space={"x": [2], "y": [4], "kind": ["a"]})


# What data frames and CSV files hold besides columns.


def test_named_levels_of_an_index_are_columns_and_an_unnamed_index_is_none() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(EPOCHS)
    wanted = table(table=EPOCHS, fidelity="epochs")
    for indexed in (frame.set_index("x"), frame.set_index(["x", "epochs"]), frame.groupby(["x", "epochs"]).mean()):
        benchmark = table(table=indexed, fidelity="epochs")
        assert (benchmark.space, benchmark.fidelity) == (wanted.space, wanted.fidelity)
        assert benchmark({"x": 2, "epochs": 3}) == wanted({"x": 2, "epochs": 3})
    partly = frame.set_index(["x", "epochs"]).rename_axis(["x", None])
    assert table(table=partly).space == {"x": [1, 2]}
    with pytest.raises(BadArgument, match="column or level of its index 'x' twice"):
        table(table=frame.set_index("x", drop=False))


def test_the_index_that_to_csv_writes_is_no_parameter_and_other_nameless_columns_are_refused(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "grid.csv"
    frame = pandas.DataFrame(ROWS)
    frame.to_csv(path)
    for source in (path, pandas.read_csv(path)):
        assert table(table=source).space == table().space
    frame.drop(index=[1]).to_csv(path)
    for source in (path, pandas.read_csv(path)):
        with pytest.raises(BadArgument, match=r"column without a name, of 0 and others.*to_csv\(path, index=False\)"):
            table(table=source)
    path.write_text("x,objective,\n1,2,\n")
    with pytest.raises(BadArgument, match=r"grid\.csv has a column without a name, of None"):
        Benchmark.from_table(path)


@pytest.mark.parametrize("cell", [[3, 3], (3, 3), {"kernel": 3}, {3}])
def test_a_cell_that_holds_several_values_is_refused_with_row_and_column(cell: Any) -> None:
    rows = [{"layers": one, "x": 1, "objective": 1.0} for one in (1, cell)]
    with pytest.raises(BadArgument, match=r"^row 1: the parameter 'layers' is .*3.*; give a number, a text"):
        Benchmark.from_table(rows)
    assert Benchmark.from_table(rows, parameters="x").space == {"x": [1]}


def test_an_array_in_a_cell_is_refused_with_row_and_column() -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    rows = [{"layers": numpy.array([1, 2]), "objective": 1.0}]
    for source in (rows, pandas.DataFrame(rows)):
        with pytest.raises(BadArgument, match=r"^row 0: the parameter 'layers' is \[1, 2\]"):
            Benchmark.from_table(source)


def test_narrow_floats_are_read_as_their_decimal_text() -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    rows = [{"rate": rate, "share": share, "loss": rate} for rate in (0.001, 0.1) for share in (0.1, 0.3)]
    frame = pandas.DataFrame(rows)
    cells = [{name: numpy.float32(value) for name, value in row.items()} for row in rows]
    for source in (frame.astype("float32"), frame.astype("Float32"), frame.astype("float32").set_index("rate"), cells):
        benchmark = table(table=source, fidelity="share")
        assert benchmark.space == {"rate": [0.001, 0.1]}
        assert benchmark.fidelity == Fidelity("share", 0.1, 0.3, levels=(0.1, 0.3))
        assert benchmark({"rate": 0.1, "share": 0.3})["loss"] == 0.1
        for asked in (numpy.float32(0.3), numpy.float16(0.3), 0.1 * 3):
            job = RunningJob(parameters={"rate": 0.1, "share": asked})
            assert benchmark(job)["loss"] == 0.1
            assert job["share"] == 0.3
        with pytest.raises(BadArgument, match=r"give one of 0\.1, 0\.3"):
            benchmark({"rate": 0.1, "share": 10**400})
        with pytest.raises(BadArgument, match=r"'share' is 0\.30001; give one of 0\.1, 0\.3"):
            benchmark({"rate": 0.1, "share": 0.30001})


# Repetitions and learning curves.

LOG = [  # two trainings of one configuration at the same time, as they logged
    {"rate": 0.1, "seed": seed, "epoch": epoch, "loss": 100.0 * seed + epoch, "runtime": 10.0 ** (seed - 1) * epoch}
    for seed, epoch in [(1, 1), (2, 1), (2, 2), (1, 2), (1, 3), (2, 3)]
]


def trainings(**more: Any) -> Benchmark:
    return table(**{"table": LOG, "fidelity": "epoch", "parameters": "rate", "curve": True, **more})


@pytest.mark.parametrize("rows", [LOG, sorted(LOG, key=lambda row: row["seed"]), LOG[::-1]])
def test_a_curve_is_that_of_one_repetition_in_whatever_order_the_rows_are(rows: Any) -> None:
    benchmark = trainings(table=rows, repetition="seed")
    assert benchmark.space == {"rate": [0.1]}
    for seed, factor in ((0, 1.0), (1, 10.0)):
        job = RunningJob(parameters={"rate": 0.1}, seed=seed)
        points = [(epoch, 100.0 * (seed + 1) + epoch, factor * epoch) for epoch in (1, 2, 3)]
        assert [tuple(point) for point in benchmark.curve(job)] == points
        assert benchmark(job)["runtime"] == 3 * factor


def test_several_columns_name_a_repetition_and_are_no_parameters(tmp_path: Path) -> None:
    rows = [{**row, "fold": fold} for row in LOG for fold in ("b", "a")]
    path = as_csv(tmp_path / "grid.csv", rows)
    for benchmark in (
        table(table=rows, fidelity="epoch", repetition=["seed", "fold"]),
        load(f"{path}?objectives=loss&maximize=False&fidelity=epoch&repetition=seed,fold"),
    ):
        assert benchmark.space == {"rate": [0.1]}
    with pytest.raises(BadArgument, match=r"are both the repetition {'seed': 1} of one evaluation"):
        table(table=rows, fidelity="epoch", parameters="rate", repetition="seed")


def test_a_job_goes_on_with_the_repetition_that_it_continues() -> None:
    benchmark = trainings(repetition="seed", curve=False)

    class Deeper:
        def ask(self) -> dict[str, Any]:
            self.asked = getattr(self, "asked", 0) + 1
            return {"rate": 0.1, "epoch": self.asked}

        def tell(self, configuration: Any, result: Any) -> None:
            pass

    seen = set()
    for seed in range(8):
        result = simulate(Deeper(), benchmark, max_evals=3, seed=seed, fidel_key="epoch", continual_max_fidel=3)
        charged = [row["charged"] for row in result.trace]
        assert charged in ([1.0] * 3, [10.0] * 3)  # of one training each
        seen.add(charged[0])
    assert seen == {1.0, 10.0}


@pytest.mark.parametrize("curve", [True, False])
def test_levels_with_different_repetitions_are_refused(curve: bool) -> None:
    short = LOG[:2] + LOG[3:]  # the second training lacks epoch 2
    with pytest.raises(
        BadArgument, match=r"{'rate': 0.1} has 2 rows at 'epoch' 1 \(row 0 .* 1 at 2 .*give repetition="
    ):
        trainings(table=short, curve=curve)
    with pytest.raises(BadArgument) as caught:
        trainings(table=short, curve=curve, repetition="seed")
    assert str(caught.value) == (
        "row 1 is the repetition {'seed': 2} of the configuration {'rate': 0.1} at 'epoch' 1, and has no row at 2, "
        "which others have; leave out the rows of what was not trained as far as the others."
    )
    with pytest.raises(BadArgument, match=r"^row 3: the repetition 'seed' is empty"):
        trainings(table=[*LOG[:3], {**LOG[3], "seed": None}, *LOG[4:]], repetition="seed")


def test_a_gap_in_a_curve_is_refused_with_its_configuration() -> None:
    rows = [{"rate": rate, **row} for rate in (0.1, 0.2) for row in EPOCHS if row["x"] == 1]
    del rows[4]
    message = r"{'rate': 0\.2} has row 4 at 'epochs' 9 and no row at 3, a gap in its learning curve"
    with pytest.raises(BadArgument, match=message):
        table(table=rows, fidelity="epochs", parameters="rate", curve=True)
    # A training that ended early has a curve, but not of the nearest rows, which are other trainings beyond its end.
    early = [row for row in rows if row["rate"] == 0.1 or row["epochs"] == 1]
    with pytest.warns(UserWarning, match="4 of the 6 combinations"):
        benchmark = table(table=early, fidelity="epochs", parameters="rate", curve=True)
    assert len(benchmark.curve({"rate": 0.2, "epochs": 1})) == 1
    with pytest.raises(BadArgument, match="has row 3 at 'epochs' 1 and no row at 3"):
        table(table=early, fidelity="epochs", parameters="rate", curve=True, lookup="nearest")


def test_a_curve_that_goes_back_in_time_is_refused_with_its_row() -> None:
    rows = [{"x": 1, "epochs": epochs, "loss": 1.0, "runtime": seconds} for epochs, seconds in ((1, 5), (3, 9), (9, 8))]
    message = r"^row 2: the runtime 'runtime' is 8 at 'epochs' 9, less than 9 at 3 \(row 1\); .* totals from scratch"
    with pytest.raises(BadArgument, match=message):
        table(table=rows, fidelity="epochs", curve=True)
    assert table(table=rows, fidelity="epochs")({"x": 1})["runtime"] == 8.0  # each row for itself
    failed = [rows[0], {**rows[1], "loss": "F_oom"}, rows[2]]  # the curve ends at 5 seconds
    assert len(table(table=failed, fidelity="epochs", curve=True).curve({"x": 1})) == 1
