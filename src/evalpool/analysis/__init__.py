"""Tables and plots of what a search did."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.analysis._hypervolume import hypervolume as hypervolume
    from evalpool.analysis._hypervolume import pareto_front as pareto_front
    from evalpool.analysis._performance import PerformanceOverTime as PerformanceOverTime
    from evalpool.analysis._performance import performance_over_time as performance_over_time
    from evalpool.analysis._performance import plot_performance_over_time as plot_performance_over_time
    from evalpool.analysis._plots import plot_objective_over_time as plot_objective_over_time
    from evalpool.analysis._plots import plot_worker_utilization as plot_worker_utilization

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "PerformanceOverTime": "_performance",
        "hypervolume": "_hypervolume",
        "pareto_front": "_hypervolume",
        "performance_over_time": "_performance",
        "plot_objective_over_time": "_plots",
        "plot_performance_over_time": "_performance",
        "plot_worker_utilization": "_plots",
    },
)
