"""Benchmarks: problems for searches with the runtimes of their evaluations, so that they run in simulated time.

A `Benchmark` is a run-function that knows its search space. `load` finds those of other packages by name.
"""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.benchmarks._benchmark import Benchmark as Benchmark
    from evalpool.benchmarks._benchmark import CurvePoint as CurvePoint
    from evalpool.benchmarks._fidelity import Fidelity as Fidelity
    from evalpool.benchmarks._runtime_model import RuntimeModel as RuntimeModel
    from evalpool.benchmarks._suites import SUITES as SUITES
    from evalpool.benchmarks._suites import Suite as Suite
    from evalpool.benchmarks._suites import load as load

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Benchmark": "_benchmark",
        "CurvePoint": "_benchmark",
        "Fidelity": "_fidelity",
        "RuntimeModel": "_runtime_model",
        "SUITES": "_suites",
        "Suite": "_suites",
        "load": "_suites",
    },
)
