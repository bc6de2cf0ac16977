"""Tables and plots of what a search did."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.analysis._hypervolume import hypervolume as hypervolume
    from evalpool.analysis._hypervolume import pareto_front as pareto_front
    from evalpool.analysis._plots import plot_objective_over_time as plot_objective_over_time
    from evalpool.analysis._plots import plot_worker_utilization as plot_worker_utilization

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "hypervolume": "_hypervolume",
        "pareto_front": "_hypervolume",
        "plot_objective_over_time": "_plots",
        "plot_worker_utilization": "_plots",
    },
)
