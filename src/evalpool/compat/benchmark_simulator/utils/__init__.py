"""What a run achieved over time, from its files, over seeds, optimisers and problems."""

from evalpool.compat.benchmark_simulator.utils._performance_over_time import (
    get_average_rank,
    get_mean_and_standard_error,
    get_performance_over_time,
    get_performance_over_time_from_paths,
    get_performance_over_time_with_same_time_scale,
)

__all__ = [
    "get_average_rank",
    "get_mean_and_standard_error",
    "get_performance_over_time",
    "get_performance_over_time_from_paths",
    "get_performance_over_time_with_same_time_scale",
]
