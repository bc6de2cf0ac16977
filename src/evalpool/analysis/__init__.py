"""Plots and measures of what a search did."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.analysis._comparison import plot_critical_difference as plot_critical_difference
    from evalpool.analysis._comparison import plot_performance_profile as plot_performance_profile
    from evalpool.analysis._comparison import plot_ranks as plot_ranks
    from evalpool.analysis._comparison import plot_regret as plot_regret
    from evalpool.analysis._comparison_page import write_comparison_page as write_comparison_page
    from evalpool.analysis._front import plot_hypervolume_over_time as plot_hypervolume_over_time
    from evalpool.analysis._front import plot_pareto_front as plot_pareto_front
    from evalpool.analysis._objective import plot_objective_over_evaluations as plot_objective_over_evaluations
    from evalpool.analysis._objective import plot_objective_over_time as plot_objective_over_time
    from evalpool.analysis._parallel import plot_parallel_coordinates as plot_parallel_coordinates
    from evalpool.analysis._performance import PerformanceOverTime as PerformanceOverTime
    from evalpool.analysis._performance import performance_of_searches as performance_of_searches
    from evalpool.analysis._performance import performance_over_time as performance_over_time
    from evalpool.analysis._performance import plot_performance_over_time as plot_performance_over_time
    from evalpool.analysis._plan import plot_plan as plot_plan
    from evalpool.analysis._workers import plot_worker_utilization as plot_worker_utilization
    from evalpool.jobs import hypervolume as hypervolume
    from evalpool.jobs import pareto_front as pareto_front

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "PerformanceOverTime": "_performance",
        "hypervolume": "evalpool.jobs",
        "pareto_front": "evalpool.jobs",
        "performance_of_searches": "_performance",
        "performance_over_time": "_performance",
        "plot_critical_difference": "_comparison",
        "plot_hypervolume_over_time": "_front",
        "plot_objective_over_evaluations": "_objective",
        "plot_objective_over_time": "_objective",
        "plot_parallel_coordinates": "_parallel",
        "plot_pareto_front": "_front",
        "plot_performance_over_time": "_performance",
        "plot_performance_profile": "_comparison",
        "plot_plan": "_plan",
        "plot_ranks": "_comparison",
        "plot_regret": "_comparison",
        "plot_worker_utilization": "_workers",
        "write_comparison_page": "_comparison_page",
    },
)
