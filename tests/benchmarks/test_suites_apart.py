"""Suites whose packages have an environment of their own; see `benchmark_environments`."""

from __future__ import annotations

import pytest
from benchmark_environments import ENVIRONMENTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MFHARTMANN = """
import json
import mfpbench
from evalpool import RandomSearch, simulate
from evalpool.benchmarks import SUITES, load

said = []
for name in [name for name in SUITES["mfpbench"]().problems() if name.startswith("mfh")]:
    ours, theirs = load(f"mfpbench:{name}", seed=1, seconds=60.0), mfpbench.get(name, seed=1)
    search = RandomSearch(ours, seed=0)
    for z in (1, 50, 100):
        configuration = search.ask()
        told, result = ours({**configuration, "z": z}), theirs.query(configuration, at=z)
        assert (told["objective"], told["runtime"]) == (-result.value.value, 60.0 * result.cost), name
    assert told["objective"] <= ours.metadata["best"]
    digests = {
        simulate(RandomSearch(ours, seed=0), ours, num_workers=8, max_evals=30, seed=0, evaluator=method).trace_digest()
        for method in (None, "serial")
    }
    said.append([name, len(ours.space), [ours.fidelity.low, ours.fidelity.high], len(digests)])
print(json.dumps(said))
"""


CARPS = """
import json
from carps.utils.trials import StatusType, TrialInfo, TrialValue
from ConfigSpace import Configuration
from evalpool import RandomSearch, simulate
from evalpool.benchmarks import SUITES, RuntimeModel, load
from evalpool.benchmarks.adapters._carps import _task
from evalpool.errors import BadArgument

ours = load("carps:BBOB/cfg_8_15_2", runtime=RuntimeModel.lognormal(60.0, 0.5, seed=1))
theirs = _task("BBOB/cfg_8_15_2", 0).objective_function
search = RandomSearch(ours, seed=0)
for _ in range(10):
    configuration = search.ask()
    trial = theirs.evaluate(TrialInfo(config=Configuration(theirs.configspace, values=configuration)))
    assert ours(configuration)["objective"] == -trial.cost
assert ours.metadata["best"] == -theirs.f_min
digests = {
    simulate(RandomSearch(ours, seed=0), ours, num_workers=8, max_evals=30, seed=0, evaluator=method).trace_digest()
    for method in (None, "process")
}
levels = load("carps:DUMMY/multifidelity").fidelity
several = load("carps:DUMMY/multiobjective")
crashing = load("carps:DUMMY/config")
crashing._run._task.made.objective_function._evaluate = lambda trial_info: TrialValue(1.0, status=StatusType.CRASHED)
try:
    load("carps:BBOB/cfg_2_1_00")
except BadArgument as error:
    message = str(error)
told = several({"x0": 1.0})["objective"]
print(json.dumps([len(SUITES["carps"]().problems()), len(digests), [levels.name, levels.low, levels.high], told,
                  crashing({"x0": 1.0})["objective"], message]))
"""


def test_the_tasks_of_carps_say_what_their_package_says() -> None:
    apart = ENVIRONMENTS["carps"]
    apart.install()
    tasks, digests, levels, objectives, failure, message = apart.run(CARPS)
    assert tasks > 3000
    assert digests == 1
    assert levels == ["n_bongos", 1, 10]
    assert objectives == [-42.0] * 3
    assert failure == "F_crashed"
    assert "'carps' has no problem 'BBOB/cfg_2_1_00'; it has BBOB/cfg_2_1_0, " in message


CARPS_LOOP = """
import json
from carps.loggers.abstract_logger import AbstractLogger
from carps.optimizers.random_search import RandomSearchOptimizer
from evalpool.benchmarks import Cell, RuntimeModel, compare, load
from evalpool.benchmarks._compare._cells import seed_from
from evalpool.benchmarks.adapters._carps import _task
from evalpool.search import CARPSOptimizer

PROBLEM = "BBOB/cfg_8_15_2"

made = []

def make(space, seed):
    made.append(RandomSearchOptimizer(_task(PROBLEM, seed)))
    return CARPSOptimizer(made[-1])

ours = load(f"carps:{PROBLEM}", runtime=RuntimeModel.lognormal(60.0, 0.5, seed=1))
found = compare({"theirs": make}, {"bbob": ours}, workers=[1], seeds=2, budget=134)  # the trials of the task
assert not found.errors, found.errors
lengths = []
for cell, told in zip(found.cells, made, strict=True):
    # CARP-S's own loop, with the task, the optimiser and the seed of the cell.
    task = _task(PROBLEM, seed_from("search", "theirs", "bbob", cell.seed))
    incumbents = []

    class Logger(AbstractLogger):
        def log_trial(self, *args, **kwargs): pass
        def log_incumbent(self, n_trials, incumbent):
            incumbents.append((n_trials + 1, incumbent[1].cost))
        def log_arbitrary(self, *args, **kwargs): pass
    own = RandomSearchOptimizer(task, loggers=[Logger()])
    own.run()
    ran = found.trajectory(cell)
    assert list(zip(ran["evaluations"], ran["best"])) == [(n, -cost) for n, cost in incumbents]
    # With one worker the virtual time is the sum of the runtimes, as CARP-S counts it.
    told_of = [[(info.config, value.cost) for info, value in one.history] for one in (told, own)]
    assert told_of[0] == told_of[1]
    total, sums = 0.0, []
    for info, value in own.history:
        total += ours.runtime_model.seconds({name: float(value) for name, value in dict(info.config).items()})
        sums.append(total)
    assert ran["time"] == [sums[n - 1] for n, _ in incumbents]
    lengths.append(len(incumbents))
search = CARPSOptimizer(RandomSearchOptimizer(_task("DUMMY/multifidelity", 0)))
print(json.dumps([lengths, search.ask()["n_bongos"]]))
"""


def test_with_one_worker_a_comparison_has_the_trajectory_of_carps_own_loop() -> None:
    apart = ENVIRONMENTS["carps"]
    apart.install()
    lengths, budget = apart.run(CARPS_LOOP)
    assert lengths == [3, 3]
    assert budget == 10


SYNE_TUNE = """
import json
import numpy
import pandas
import syne_tune.blackbox_repository as repository
from syne_tune.blackbox_repository.blackbox_tabular import BlackboxTabular
from syne_tune.config_space import choice, finrange, loguniform, randint
from evalpool import RandomSearch, RunningJob, simulate
from evalpool.benchmarks import SUITES, load
from evalpool.benchmarks.adapters._synetune import of_blackbox

grid = [(depth, op) for depth in (1, 2, 3) for op in ("a", "b")]
values = numpy.zeros((len(grid), 2, 3, 2))  # configurations, seeds, fidelities, objectives
for number in range(len(grid)):
    for seed in range(2):
        for place, epoch in enumerate((1, 3, 9)):
            values[number, seed, place] = (number + seed / 10 + 1 / epoch, 60.0 * epoch)
box = BlackboxTabular(
    pandas.DataFrame(grid, columns=["depth", "op"]), {"depth": randint(1, 3), "op": choice(["a", "b"])},
    {"hp_epoch": randint(1, 9)}, values, numpy.array([1, 3, 9]),
)
box.objectives_names = ["metric_error", "metric_elapsed_time"]
repository.load_blackbox = lambda name: {"small": box}  # the package's own data are on a server
ours = load("synetune:nasbench201/small?objective=metric_error")
for seed in range(4):
    job = RunningJob(parameters={"depth": 2, "op": "b", "hp_epoch": 3}, seed=seed)
    theirs = box({"depth": 2, "op": "b"}, {"hp_epoch": 3}, seed=seed % 2)
    told = ours(job)
    assert (told["objective"], told["runtime"]) == (-theirs["metric_error"], theirs["metric_elapsed_time"])
digests = {
    simulate(RandomSearch(ours, seed=0), ours, num_workers=2, max_evals=10, seed=0, evaluator=method).trace_digest()
    for method in (None, "process")
}
box.configuration_space = {
    "rate": loguniform(1e-4, 1.0), "width": finrange(1.0, 2.0, 3), "depth": randint(1, 3), "k": 7
}
space = of_blackbox("spaces", box, "metric_error").space
print(json.dumps([len(digests), repr(ours.fidelity), space, "nasbench201" in SUITES["synetune"]().problems()]))
"""


def test_a_table_of_syne_tune_says_what_its_package_says() -> None:
    apart = ENVIRONMENTS["synetune"]
    apart.install()
    digests, fidelity, space, known = apart.run(SYNE_TUNE)
    assert (digests, known) == (1, True)
    assert fidelity == "Fidelity('hp_epoch', 1, 9, integer=True, levels=(1, 3, 9))"
    assert space == {"rate": [1e-4, 1.0, "log"], "width": [1.0, 1.5, 2.0], "depth": [1, 3], "k": [7]}


YAHPO = """
import json, os, pathlib, tempfile

import numpy
from onnx import TensorProto, helper, numpy_helper, save

folder = pathlib.Path(tempfile.mkdtemp())
os.environ["YAHPO_LOCAL_CONFIG"] = str(folder / "settings")  # the package reads it when it is imported
from yahpo_gym import local_config
local_config.init_config()
local_config.set_data_path(folder)
from yahpo_gym import BenchmarkSet
from yahpo_gym.configuration import cfg
from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from ConfigSpace.read_and_write import json as written

# A surrogate of the package's form: a small linear model of the scenario's own parameters and targets.
scenario, data = cfg("lcbench"), folder / "lcbench"
data.mkdir()
space = ConfigurationSpace()
space.add_hyperparameters([
    Categorical("OpenML_task_id", ["3945", "7593"]), Integer("epoch", (1, 52)), Integer("num_layers", (1, 5)),
    Integer("batch_size", (16, 512), log=True), Integer("max_units", (64, 1024), log=True),
    Float("learning_rate", (1e-4, 0.1), log=True), Float("momentum", (0.1, 0.99)), Float("weight_decay", (1e-5, 0.1)),
    Float("max_dropout", (0.0, 1.0)),
])
(data / "config_space.json").write_text(written.write(space))
(data / "encoding.json").write_text(json.dumps({"OpenML_task_id": {"#na#": 0, "3945": 1, "7593": 2}}))
inputs, outputs = len(scenario.cont_names), len(scenario.y_names)
weights = numpy.random.default_rng(0).random((inputs, outputs)).astype(numpy.float32)
nodes = [
    helper.make_node("Cast", ["cat"], ["task"], to=TensorProto.FLOAT),
    helper.make_node("MatMul", ["cont", "weights"], ["sum"]),
    helper.make_node("Add", ["sum", "task"], ["y"]),
]
tensors = [
    helper.make_tensor_value_info("cat", TensorProto.INT32, ["n", 1]),
    helper.make_tensor_value_info("cont", TensorProto.FLOAT, ["n", inputs]),
]
result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", outputs])
graph = helper.make_graph(nodes, "linear", tensors, [result], [numpy_helper.from_array(weights, "weights")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
model.ir_version = 8
save(model, data / "model.onnx")

from evalpool import RandomSearch, simulate
from evalpool.benchmarks import load
from evalpool.benchmarks.adapters._yahpo import MAXIMIZED
from yahpo_gym.configuration import config_dict

ours = load("yahpo:lcbench/3945?objective=val_accuracy")
theirs = BenchmarkSet("lcbench", "3945", multithread=False)
search = RandomSearch(ours, seed=0)
for epoch in (1, 52):
    configuration = {**search.ask(), "epoch": epoch}
    (result,) = theirs.objective_function(configuration)
    told = ours(configuration)
    assert (told["objective"], told["runtime"]) == (float(result["val_accuracy"]), float(result["time"]))
minimized = load("yahpo:lcbench/3945?objective=val_cross_entropy")
assert minimized(configuration)["objective"] == -float(result["val_cross_entropy"])
digests = {
    simulate(RandomSearch(ours, seed=0), ours, num_workers=8, max_evals=30, seed=0, evaluator=method).trace_digest()
    for method in (None, "process")
}
other = load("yahpo:lcbench/7593?objective=val_accuracy")
difference = other({**configuration, "OpenML_task_id": "7593"})["objective"] - told["objective"]
others = sorted({
    f"{name.partition('_')[0]} {target}"
    for name, known in config_dict.configs.items()
    for target, less in zip(known["y_names"], known["y_minimize"])
    if less == (target in MAXIMIZED)
})
print(json.dumps([len(digests), repr(ours.fidelity), ours.space, difference, others]))
"""


def test_a_surrogate_of_yahpo_says_what_its_package_says() -> None:
    """The package's own data are on a server: the surrogate is a small one in the form of its scenario lcbench."""
    apart = ENVIRONMENTS["yahpo"]
    apart.install()
    digests, fidelity, space, difference, others = apart.run(YAHPO)
    assert (digests, fidelity, difference) == (1, "Fidelity('epoch', 1, 52, integer=True)", 1.0)
    assert space == {
        "OpenML_task_id": ["3945"], "batch_size": [16, 512, "log"], "learning_rate": [1e-4, 0.1, "log"],
        "max_dropout": [0.0, 1.0], "max_units": [64, 1024, "log"], "momentum": [0.1, 0.99], "num_layers": [1, 5],
        "weight_decay": [1e-5, 0.1],
    }  # fmt: skip
    assert others == ["rbv2 f1"]  # a score; the package says that it is minimised


def test_the_ten_mfhartmann_functions_say_what_their_package_says() -> None:
    apart = ENVIRONMENTS["mfpbench"]
    apart.install()
    found = apart.run(MFHARTMANN)
    assert sorted(name for name, *_ in found) == sorted(
        f"mfh{dimensions}{kind}" for dimensions in (3, 6) for kind in ("", "_terrible", "_bad", "_moderate", "_good")
    )
    assert all(
        (parameters, levels, digests) == (int(name[3]), [1, 100], 1) for name, parameters, levels, digests in found
    )
