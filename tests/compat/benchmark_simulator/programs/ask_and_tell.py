"""An optimiser that asks and tells: what it knows, what it is told, and what the files hold."""

import importlib
import json
import os
import sys

there = importlib.import_module(sys.argv[1])

RUNTIMES = [1000, 400, 310, 200, 205, 303, 417, 226, 208, 309, 202, 404, 333, 291, 305, 207, 350, 408, 301, 109]


class InLine(there.AbstractAskTellOptimizer):
    def __init__(self, pairs=False):
        self.asked, self.told, self.known, self.pairs = 0, [], [], pairs

    def ask(self):
        self.known.append(len(self.told))
        self.asked += 1
        config = {"x": self.asked - 1}
        if self.asked > 3:
            config["later"] = "y"
        return config, None, None

    def tell(self, eval_config, results, *, fidels=None, config_id=None):
        self.told.append((eval_config["x"], sorted(results), fidels, config_id))


def objective(eval_config, fidels=None, seed=None):
    assert isinstance(seed, int)
    assert fidels is None
    runtime = RUNTIMES[eval_config["x"] % len(RUNTIMES)]
    return {"loss": eval_config["x"] ** 2, "size": 3, "runtime": runtime, "more": "than is asked for"}


optimizer = InLine()
wrapper = there.ObjectiveFuncWrapper(
    objective,
    ask_and_tell=True,
    save_dir_name="first",
    n_workers=4,
    n_evals=20,
    n_actual_evals_in_opt=24,
    obj_keys=["loss", "size"],
    store_config=True,
    store_actual_cumtime=True,
    expensive_sampler=True,
    seed=0,
)
print(wrapper.dir_name, wrapper.obj_keys, wrapper.runtime_key, wrapper.fidel_keys, wrapper.n_workers)
print(wrapper.n_actual_evals_in_opt, wrapper.result_file_path, wrapper.optimizer_overhead_file_path)
wrapper.simulate(optimizer)
results = wrapper.get_results()
print(sorted(results), {len(column) for column in results.values()})
print([round(value, 1) for value in results["cumtime"]])
for key in ("loss", "size", "x", "later", "worker_index"):
    print(key, results[key])
print(optimizer.known)
print(optimizer.told)
with open(wrapper.result_file_path) as file:
    print(json.load(file) == results)
overhead = wrapper.get_optimizer_overhead()
print(sorted(overhead), [round(value, 1) for value in overhead["before_sample"][:20]], overhead["worker_index"][:20])

again = InLine()
wrapper = there.ObjectiveFuncWrapper(
    objective, ask_and_tell=True, save_dir_name="first", n_workers=1, n_evals=3, n_actual_evals_in_opt=4
)
wrapper.simulate(again)  # into the same directory
print(wrapper.get_results()["loss"], again.known, sorted(wrapper.get_results()))

unnamed = there.ObjectiveFuncWrapper(objective, ask_and_tell=True, n_workers=1, n_evals=3, n_actual_evals_in_opt=4)
print(os.path.dirname(unnamed.dir_name), os.path.basename(unnamed.dir_name).startswith("data-"))
