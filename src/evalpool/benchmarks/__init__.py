"""Benchmarks: problems for searches with the runtimes of their evaluations, so that they run in simulated time.

A `Benchmark` is a run-function that knows its search space. `load` finds those of other packages by name, and
`compare` runs searches on them. `plan` says how many workers a search can feed.
"""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.benchmarks._benchmark import Benchmark as Benchmark
    from evalpool.benchmarks._benchmark import CurvePoint as CurvePoint
    from evalpool.benchmarks._compare._cells import Cell as Cell
    from evalpool.benchmarks._compare._compare import compare as compare
    from evalpool.benchmarks._compare._comparison import Comparison as Comparison
    from evalpool.benchmarks._compare._ranks import CriticalDifference as CriticalDifference
    from evalpool.benchmarks._compare._ranks import PerformanceProfile as PerformanceProfile
    from evalpool.benchmarks._fidelity import Fidelity as Fidelity
    from evalpool.benchmarks._plan._plan import Plan as Plan
    from evalpool.benchmarks._plan._plan import measured_dispatch as measured_dispatch
    from evalpool.benchmarks._plan._plan import plan as plan
    from evalpool.benchmarks._plan._runtime_draws import recorded_runtimes as recorded_runtimes
    from evalpool.benchmarks._plan._search_times import SearchTimes as SearchTimes
    from evalpool.benchmarks._runtime_model import RuntimeModel as RuntimeModel
    from evalpool.benchmarks._suites import SUITES as SUITES
    from evalpool.benchmarks._suites import Suite as Suite
    from evalpool.benchmarks._suites import load as load

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Benchmark": "_benchmark",
        "Cell": "_compare._cells",
        "Comparison": "_compare._comparison",
        "CriticalDifference": "_compare._ranks",
        "CurvePoint": "_benchmark",
        "Fidelity": "_fidelity",
        "PerformanceProfile": "_compare._ranks",
        "Plan": "_plan._plan",
        "RuntimeModel": "_runtime_model",
        "SUITES": "_suites",
        "SearchTimes": "_plan._search_times",
        "Suite": "_suites",
        "compare": "_compare._compare",
        "load": "_suites",
        "measured_dispatch": "_plan._plan",
        "plan": "_plan._plan",
        "recorded_runtimes": "_plan._runtime_draws",
    },
)
