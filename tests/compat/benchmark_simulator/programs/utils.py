"""Curves over time from the files of runs."""

import importlib
import sys

import numpy as np

there = importlib.import_module(sys.argv[1])
utils = importlib.import_module(f"{sys.argv[1]}.utils")
rng = np.random.default_rng(0)


def show(*arrays):
    for array in arrays:
        print(array.shape, np.round(array.reshape(-1)[:: max(1, array.size // 12)], 3).tolist())


times = [np.sort(rng.random(30 + seed)) + 0.5 for seed in range(3)]
values = [rng.random(30 + seed) for seed in range(3)]
overheads = [0.1 * rng.random(30 + seed) for seed in range(3)]
for arguments in ({}, {"minimize": False}, {"log": False, "step": 7}, {"optimizer_overheads": overheads}):
    show(*utils.get_performance_over_time(times, values, **arguments))
show(*utils.get_mean_and_standard_error(np.array([[1.0, 2, 3], [np.nan, 5, 6], [np.nan, np.nan, 8]])))
for function, arguments in (
    (utils.get_performance_over_time, (times[0], values[0])),
    (utils.get_performance_over_time, (times, values[:2])),
    (utils.get_performance_over_time, (times, values[::-1])),
    (utils.get_performance_over_time, (times, values, times)),
    (utils.get_mean_and_standard_error, ([[1]],)),
    (utils.get_mean_and_standard_error, (np.ones(3),)),
):
    try:
        function(*arguments)
    except (TypeError, ValueError):
        print("refused")


class Random(there.AbstractAskTellOptimizer):
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def ask(self):
        return {"x": self.rng.random()}, None, None

    def tell(self, *args, **kwargs):
        pass


def run(seed, scale):
    def objective(eval_config, fidels=None, seed=None):
        return {"loss": round(eval_config["x"], 1) * scale, "runtime": 1000.0 * (1 + eval_config["x"])}

    wrapper = there.ObjectiveFuncWrapper(
        objective,
        ask_and_tell=True,
        save_dir_name=f"{scale}-{seed}",
        n_workers=3,
        n_evals=20,
        n_actual_evals_in_opt=23,
        expensive_sampler=True,
    )
    wrapper.simulate(Random(seed))
    return wrapper.dir_name


paths = [[[run(seed, scale + problem) for seed in range(2)] for scale in (1, 3, 5)] for problem in (0, 7)]
for consider in (True, False):
    show(*utils.get_performance_over_time_from_paths(paths[0][0], consider_optimizer_overhead=consider))
    show(*utils.get_performance_over_time_with_same_time_scale(paths, consider_optimizer_overhead=consider))
    show(*utils.get_average_rank(paths, consider_optimizer_overhead=consider))
show(*utils.get_average_rank(paths, minimize=False, step_avg_rank=30))
