"""A sampler that takes as long as evaluations, the longer the more it has seen: who is told when."""

import importlib
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

there = importlib.import_module(sys.argv[1])
UNIT = 0.1


def objective(eval_config, fidels=None, seed=None):
    return {"loss": 0.0, "runtime": 0.9 * UNIT}


class Optimizer:
    def __init__(self):
        self.seen, self.known = 0, []

    def ask(self):
        self.known.append(self.seen)
        time.sleep((self.seen + 1) * UNIT)
        return {"x": 1}, None, None

    def tell(self, eval_config, results, *, fidels=None, config_id=None):
        self.seen += 1


def units(values):
    return [round(value / UNIT + 0.05) for value in values]


optimizer = Optimizer()
settings = {"n_workers": 4, "n_evals": 6, "n_actual_evals_in_opt": 11, "expensive_sampler": True}
wrapper = there.ObjectiveFuncWrapper(objective, ask_and_tell=True, save_dir_name="asks", **settings)
wrapper.simulate(optimizer)
print(optimizer.known[:6], units(wrapper.get_results()["cumtime"][:6]))

# The same as a function that workers call: one thread decides for all of them.
optimizer = Optimizer()
wrapper = there.ObjectiveFuncWrapper(objective, save_dir_name="calls", **{**settings, "n_workers": 2})
with ThreadPoolExecutor(2) as pool:
    futures = set()
    for number in range(8):
        if number >= 2:
            done, futures = wait(futures, return_when=FIRST_COMPLETED)
            optimizer.seen += len(done)
        config, fidels, config_id = optimizer.ask()
        futures.add(pool.submit(wrapper, config))
        threading.Event().wait(0.01 * UNIT)
    wait(futures)
print(optimizer.known[:4], units(wrapper.get_results()["cumtime"][:4]))
