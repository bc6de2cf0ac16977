"""Fidelities: an evaluation continues one of the same configuration at a lower, and is charged the difference."""

import importlib
import json
import os
import sys

there = importlib.import_module(sys.argv[1])


class Rungs(there.AbstractAskTellOptimizer):
    def __init__(self):
        self.told, self.number = [], 0

    def ask(self):
        number = self.number
        self.number += 1
        config_id = number // 2 if number < 6 else None
        return {"x": number // 2}, {"epoch": 3 if number % 2 == 0 else 9}, config_id

    def tell(self, eval_config, results, *, fidels, config_id):
        self.told.append((eval_config, round(results["runtime"], 3), fidels, config_id))


seeds = []


def objective(eval_config, fidels, seed):
    seeds.append(seed)
    return {"loss": eval_config["x"], "runtime": 10.0 * fidels["epoch"]}


settings = {
    "n_evals": 8,
    "n_actual_evals_in_opt": 9,
    "n_workers": 1,
    "fidel_keys": ["epoch"],
    "continual_max_fidel": 9,
    "store_config": True,
}
optimizer = Rungs()
wrapper = there.ObjectiveFuncWrapper(objective, ask_and_tell=True, save_dir_name="asks", **settings)
wrapper.simulate(optimizer)
results = wrapper.get_results()
print(optimizer.told)
print(sorted(results), results["prev_fidel"], results["epoch"], [round(value, 1) for value in results["cumtime"]])
print([a == b for a, b in zip(seeds[::2], seeds[1::2], strict=False)], results["seed"] == seeds[:8])

wrapper = there.ObjectiveFuncWrapper(objective, save_dir_name="calls", **settings)


def states():
    with open(os.path.join(wrapper.dir_name, "state_cache.json")) as file:
        return [[(runtime, fidelity) for runtime, _, fidelity, _ in kept] for kept in json.load(file).values()]


for epoch in (1, 3, 9, 3, 3, 9, 2, 9):
    charged = wrapper({"x": 1}, fidels={"epoch": epoch})["runtime"]
    print(epoch, round(charged, 3), states())
results = wrapper.get_results()
print(
    sorted(results), results["prev_fidel"], results["worker_index"], [round(value, 1) for value in results["cumtime"]]
)
