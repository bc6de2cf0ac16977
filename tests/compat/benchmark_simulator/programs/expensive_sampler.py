"""A sampler that takes as long as evaluations, the longer the more it has seen: who is told when."""

import importlib
import sys
import time

there = importlib.import_module(sys.argv[1])
UNIT = 0.1


class Optimizer:
    def __init__(self, runtimes):
        self.runtimes, self.seen, self.known = runtimes, 0, []

    def ask(self):
        self.known.append(self.seen)
        number = len(self.known)
        if number > len(self.runtimes):
            return {"runtime": 1000.0}, None, None
        time.sleep((self.seen + 1) * UNIT)
        return {"runtime": self.runtimes[number - 1]}, None, None

    def tell(self, eval_config, results, *, fidels=None, config_id=None):
        self.seen += 1


def objective(eval_config, fidels=None, seed=None):
    return {"loss": 0, "runtime": eval_config["runtime"] * UNIT}


for number, runtimes in enumerate(([0.9] * 6, [4.9, 13.9, 7.9, 16.9, 13.9])):
    count = len(runtimes)
    optimizer = Optimizer(runtimes)
    wrapper = there.ObjectiveFuncWrapper(
        objective,
        ask_and_tell=True,
        save_dir_name=f"{number}",
        n_workers=4,
        n_evals=count,
        n_actual_evals_in_opt=count + 4,
        expensive_sampler=True,
    )
    wrapper.simulate(optimizer)
    results, overhead = wrapper.get_results(), wrapper.get_optimizer_overhead()
    print(optimizer.known[:count], [round(end / UNIT) for end in results["cumtime"][:count]])
    print([round(before / UNIT) for before in overhead["before_sample"][:4]], overhead["worker_index"][:count])
