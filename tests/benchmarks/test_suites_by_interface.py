"""Suites whose data are on servers: the adapters are tested against the packages' interfaces, with small problems.

OptunaHub is the real package, with a problem in a folder. Syne Tune and YAHPO Gym are stand-ins with the attributes and
the calls that the packages have; no test here has seen their data. `test_suites_apart` has a table in Syne Tune itself,
and a surrogate in YAHPO Gym.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evalpool import RandomSearch, RunningJob, simulate
from evalpool.benchmarks import RuntimeModel, load
from evalpool.errors import BadArgument
from services import package

HUB = """
import optuna
from optunahub.benchmarks import BaseProblem

class Problem(BaseProblem):
    def __init__(self, shift=0.0, goals=1):
        self.shift, self.goals = shift, goals

    @property
    def search_space(self):
        d = optuna.distributions
        return {
            "x": d.FloatDistribution(-5.0, 5.0),
            "rate": d.FloatDistribution(1e-4, 1.0, log=True),
            "n": d.IntDistribution(1, 9),
            "even": d.IntDistribution(2, 8, step=2),
            "kind": d.CategoricalDistribution(["a", "b"]),
        }

    @property
    def directions(self):
        return [optuna.study.StudyDirection.MINIMIZE, optuna.study.StudyDirection.MAXIMIZE][: self.goals]

    def evaluate(self, params):
        value = (params["x"] - self.shift) ** 2 + params["n"]
        return value if self.goals == 1 else (value, params["rate"])

    def evaluate_constraints(self, params):
        return {"small": params["n"] - 5.0} if self.goals == 1 else {}


class Stepped(Problem):
    @property
    def search_space(self):
        return {"x": optuna.distributions.FloatDistribution(0.0, 1.0, step=0.25)}
"""


@pytest.fixture
def registry(tmp_path: Path) -> str:
    package("optunahub")
    folder = tmp_path / "shifted"
    folder.mkdir()
    (folder / "__init__.py").write_text(HUB)
    return str(tmp_path)


@pytest.mark.slow
def test_a_problem_of_optunahub_is_a_benchmark(registry: str) -> None:
    benchmark = load(f"optunahub:shifted?registry_root={registry}&shift=2.0", runtime=RuntimeModel.constant(1.0))
    assert benchmark.space == {
        "x": (-5.0, 5.0), "rate": (1e-4, 1.0, "log"), "n": (1, 9), "even": [2, 4, 6, 8], "kind": ["a", "b"],
    }  # fmt: skip
    told = benchmark({"x": 3.0, "rate": 0.1, "n": 4, "even": 2, "kind": "a"})
    assert told == {"value": 5.0, "constraints": {"small": -1.0}, "objective": -5.0, "runtime": 1.0}
    runs = [
        simulate(RandomSearch(benchmark, seed=0), benchmark, num_workers=2, max_evals=10, seed=0, evaluator=method)
        for method in (None, "process")
    ]
    assert runs[0].objectives == runs[1].objectives


def test_a_problem_of_optunahub_may_have_several_objectives_but_no_steps_of_floats(registry: str) -> None:
    both = load("optunahub:shifted", registry_root=registry, goals=2)
    assert both({"x": 1.0, "rate": 0.1, "n": 4, "even": 2, "kind": "a"})["objective"] == (-5.0, 0.1)
    assert not both.has_runtimes
    with pytest.raises(BadArgument, match=r"'x' is FloatDistribution.*with a step"):
        load("optunahub:shifted", registry_root=registry, problem_class="Stepped")


def test_a_package_of_optunahub_that_cannot_be_loaded_is_named(registry: str) -> None:
    with pytest.raises(BadArgument, match=r"'nosuch' of OptunaHub cannot be loaded: .*give registry_root"):
        load("optunahub:nosuch", registry_root=registry)


# Syne Tune: `Blackbox` of its `blackbox_repository`.


class Domain:
    def __init__(self, kind: type, lower: Any, upper: Any, sampler: str) -> None:
        self.value_type, self.lower, self.upper = kind, lower, upper
        self._sampler = type(sampler, (), {})()

    def get_sampler(self) -> Any:
        return self._sampler


class Categorical:
    def __init__(self, *categories: Any) -> None:
        self.categories = list(categories)


class Blackbox:
    """``num_seeds`` repetitions of a table with one fidelity."""

    objectives_names: tuple[str, ...] = ("metric_error", "metric_elapsed_time")
    fidelities: tuple[str, ...] = ("hp_epoch",)
    fidelity_values = (1, 3, 9)
    num_seeds = 4

    def __init__(self) -> None:
        self.fidelity_space = dict.fromkeys(self.fidelities)
        self.configuration_space = {
            "lr": Domain(float, 1e-4, 1e-1, "_LogUniform"), "depth": Domain(int, 1, 4, "_Uniform"),
            "op": Categorical("a", "b"), "task": "images",
        }  # fmt: skip

    def __call__(self, configuration: dict[str, Any], fidelity: Any = None, seed: int | None = None) -> dict[str, Any]:
        assert set(configuration) == set(self.configuration_space)
        assert seed in range(4)
        epochs = fidelity["hp_epoch"]
        return {"metric_error": configuration["lr"] / epochs + seed, "metric_elapsed_time": 10.0 * epochs}


class Several(Blackbox):
    fidelities = ("hp_epoch", "data")


@pytest.fixture
def syne_tune(monkeypatch: pytest.MonkeyPatch) -> None:
    repository: Any = types.ModuleType("syne_tune.blackbox_repository")
    repository.blackbox_list = lambda: ["images", "single", "several"]
    boxes = {"images": {"cifar": Blackbox()}, "single": Blackbox(), "several": Several()}
    repository.load_blackbox = boxes.__getitem__
    monkeypatch.setitem(sys.modules, "syne_tune", types.ModuleType("syne_tune"))
    monkeypatch.setitem(sys.modules, "syne_tune.blackbox_repository", repository)


@pytest.mark.usefixtures("syne_tune")
def test_a_blackbox_of_syne_tune_is_a_benchmark() -> None:
    benchmark = load("synetune:images/cifar?objective=metric_error")
    assert benchmark.space == {
        "lr": (1e-4, 1e-1, "log"), "depth": (1, 4), "op": ["a", "b"], "task": ["images"],
    }  # fmt: skip
    job = RunningJob(parameters={"lr": 0.09, "depth": 1, "op": "a", "task": "images", "hp_epoch": 3}, seed=6)
    told = benchmark(job)
    assert (told["objective"], told["runtime"]) == (-(0.09 / 3 + 2), 30.0)
    assert simulate(RandomSearch(benchmark, seed=0), benchmark, num_workers=2, max_evals=4).makespan == 180.0


@pytest.mark.usefixtures("syne_tune")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("synetune:images?objective=metric_error", "data sets cifar"),
        ("synetune:single?objective=accuracy", "no objective 'accuracy'; it has metric_error, metric_elapsed_time"),
        ("synetune:several?objective=metric_error", "fidelities hp_epoch, data; only one"),
        ("synetune:none?objective=metric_error", "no problem 'none'; it has images, single, several"),
    ],
)
def test_a_blackbox_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        load(name)


@pytest.mark.usefixtures("syne_tune")
def test_a_blackbox_without_times_has_none() -> None:
    assert not load("synetune:single?objective=metric_error&elapsed=metric_time").has_runtimes


# YAHPO Gym: `BenchmarkSet`.


class Level(NamedTuple):
    lower: Any
    upper: Any


class Scenario(NamedTuple):
    y_names: list[str]
    runtime_name: str


class BenchmarkSet:
    def __init__(self, scenario: str, instance: str | None, multithread: bool = True) -> None:
        assert (scenario, instance, multithread) == ("lcbench", "3945", False)
        self.config = Scenario(["time", "val_accuracy"], "time")

    def get_fidelity_space(self) -> dict[str, Level]:
        return {"epoch": Level(1, 52), "share": Level(0.1, 1.0)}

    def get_opt_space(self, drop_fidelity_params: bool) -> Any:
        assert drop_fidelity_params
        config_space = package("ConfigSpace")
        space = config_space.ConfigurationSpace({"rate": (1e-4, 1e-1), "instance": "3945"})
        space.add(config_space.Integer("width", (16, 64), log=True))
        return space

    def objective_function(self, configuration: dict[str, Any], seed: int) -> list[dict[str, float]]:
        assert set(configuration) == {"rate", "instance", "width", "epoch", "share"}
        assert configuration["share"] == 1.0
        return [{"time": 2.0 * configuration["epoch"], "val_accuracy": 90.0 + configuration["rate"]}]


@pytest.fixture
def yahpo(monkeypatch: pytest.MonkeyPatch) -> None:
    gym: Any = types.ModuleType("yahpo_gym")
    gym.list_scenarios, gym.BenchmarkSet = lambda: ["lcbench"], BenchmarkSet
    monkeypatch.setitem(sys.modules, "yahpo_gym", gym)


@pytest.mark.usefixtures("yahpo")
def test_a_scenario_of_yahpo_is_a_benchmark() -> None:
    benchmark = load("yahpo:lcbench/3945?objective=val_accuracy")
    assert benchmark.space == {"rate": (1e-4, 1e-1), "instance": ["3945"], "width": (16, 64, "log")}
    told = benchmark({"rate": 0.01, "instance": "3945", "width": 16, "epoch": 10})
    assert (told["objective"], told["runtime"]) == (90.01, 20.0)
    assert load("yahpo:lcbench/3945?objective=time&fidelity=epoch").maximize == (False,)
    with pytest.raises(BadArgument, match=r"the targets time, val_accuracy and the fidelities epoch, share"):
        load("yahpo:lcbench/3945?objective=loss")
    with pytest.raises(BadArgument, match="no problem 'iaml/1'; it has lcbench"):
        load("yahpo:iaml/1")
