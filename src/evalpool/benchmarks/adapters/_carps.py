"""The objective functions of CARP-S, as its tasks configure them.

A task's name is the path of its configuration file: ``carps:BBOB/cfg_2_1_0``. CARP-S minimises; its times are those of
the functions that have a virtual time. What a task needs besides CARP-S (ioh, YAHPO with its data) is its own matter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalpool.benchmarks._benchmark import Benchmark
from evalpool.benchmarks._fidelity import Fidelity
from evalpool.benchmarks._suites import Suite, import_package
from evalpool.benchmarks.adapters._remade import Remade
from evalpool.benchmarks.adapters._spaces import space_of_configspace
from evalpool.worker._running_job import RunningJob

__all__ = ["CARPSSuite"]


def _tasks() -> Path:
    return Path(import_package("carps", "carps").__file__).parent / "configs" / "task"


def _task(problem: str, seed: int) -> Any:
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    configuration: Any = OmegaConf.load(_tasks() / f"{problem}.yaml")
    configuration.seed = seed
    return instantiate(configuration.task)


class _Evaluation:
    """The run-function: one trial of CARP-S."""

    def __init__(self, task: Remade, fidelity: str | None) -> None:
        self._task, self._fidelity = task, fidelity

    def __call__(self, job: RunningJob) -> dict[str, Any] | str:
        from carps.utils.trials import StatusType, TrialInfo
        from ConfigSpace import Configuration

        task = self._task.made
        values = dict(job.parameters)
        budget = None if self._fidelity is None else values.pop(self._fidelity)
        configuration = Configuration(task.objective_function.configspace, values=values)
        trial = task.objective_function.evaluate(TrialInfo(config=configuration, seed=job.seed, budget=budget))
        if trial.status != StatusType.SUCCESS:
            return f"F_{trial.status.name.lower()}"
        costs = trial.cost if isinstance(trial.cost, (list, tuple)) else [trial.cost]
        told = {name: float(cost) for name, cost in zip(task.output_space.objectives, costs, strict=True)}
        return {**told, "virtual_time": float(trial.virtual_time)} if task.metadata.has_virtual_time else told


class CARPSSuite(Suite):
    """``load("carps:BBOB/cfg_2_1_0", runtime=RuntimeModel.lognormal(60.0, 0.5))``."""

    def problems(self) -> list[str]:
        """Return the paths of the files of the tasks, without their ending, below the folder of all tasks."""
        tasks = _tasks()
        return sorted(path.relative_to(tasks).with_suffix("").as_posix() for path in tasks.rglob("*.yaml"))

    def load(self, problem: str, seed: int = 0) -> Benchmark:
        """Return the objective function of a task.

        Args:
            problem: the path of its file.
            seed: of the task.
        """
        made = Remade(_task, problem, seed)
        task, levels = made.made, made.made.input_space.fidelity_space
        fidelity = None
        if levels.is_multifidelity:
            fidelity = Fidelity(levels.fidelity_type, levels.min_fidelity, levels.max_fidelity)
        metadata: dict[str, Any] = {"suite": "CARP-S", "task": task.name}
        if (least := task.objective_function.f_min) is not None:
            metadata["best"] = -float(least)
        return Benchmark(
            f"carps:{problem}", space_of_configspace(task.objective_function.configspace),
            _Evaluation(made, None if fidelity is None else fidelity.name),
            runtime="virtual_time" if task.metadata.has_virtual_time else None,
            objectives=list(task.output_space.objectives), maximize=False, fidelity=fidelity,
            metadata=metadata,
        )  # fmt: skip
