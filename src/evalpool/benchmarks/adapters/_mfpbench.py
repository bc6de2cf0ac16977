"""Benchmarks of mf-prior-bench. Those of MFHartmann need no data; the others read what its own command downloaded.

MFHartmann's cost has no unit: from 0.05 to 1 of a full evaluation. It counts as seconds, or as `seconds` of them.
"""

from __future__ import annotations

from typing import Any

from evalpool._checks import check_real
from evalpool.benchmarks._benchmark import Benchmark
from evalpool.benchmarks._fidelity import Fidelity
from evalpool.benchmarks._suites import Suite, import_package
from evalpool.benchmarks.adapters._spaces import space_of_configspace
from evalpool.worker._running_job import RunningJob

__all__ = ["MFPBenchSuite"]


class _Query:
    """The run-function: a query of mf-prior-bench, at the fidelity of the job."""

    def __init__(self, benchmark: Any, metric: str, scale: float) -> None:
        self._benchmark, self._metric, self._scale = benchmark, metric, scale

    def __call__(self, job: RunningJob) -> dict[str, float]:
        configuration = dict(job.parameters)
        result = self._benchmark.query(configuration, at=configuration.pop(self._benchmark.fidelity_name))
        return {self._metric: float(result[self._metric].value), "cost": float(result.cost) * self._scale}


class MFPBenchSuite(Suite):
    """``load("mfpbench:mfh3_good")``: MFHartmann in 3 or 6 dimensions, and what else mf-prior-bench offers."""

    def problems(self) -> list[str]:
        """Return the package's names of its benchmarks."""
        import_package("mfpbench", "mf-prior-bench")
        from mfpbench.get import _mapping

        return list(_mapping)

    def load(self, problem: str, seconds: float = 1.0, seed: int | None = None, **options: Any) -> Benchmark:
        """Return a benchmark.

        Args:
            problem: the package's name.
            seconds: virtual seconds of one unit of its cost.
            seed: of the benchmark's noise.
            options: of `mfpbench.get`: ``datadir``, ``task_id``, ``bias``, ``noise``.
        """
        mfpbench = import_package("mfpbench", "mf-prior-bench")
        scale = check_real("seconds", seconds, above=0.0)
        found = mfpbench.get(problem, seed=seed, **options)
        metric: str = found.value_metric
        low, high = found.fidelity_range[:2]
        goal = found.metrics[metric]
        told = [-bound if goal.minimize else bound for bound in goal.bounds]
        return Benchmark(
            f"mfpbench:{problem}", space_of_configspace(found.space), _Query(found, metric, scale),
            runtime="cost", objectives=metric, maximize=not goal.minimize,
            fidelity=Fidelity(found.fidelity_name, low, high),
            metadata={"suite": "mf-prior-bench", "best": float(max(told))},
        )  # fmt: skip
