"""Synchronous batches: one caller brings the evaluations, many workers run them, and then comes the next batch."""

import importlib
import sys

there = importlib.import_module(sys.argv[1])
RUNTIMES = [400, 300, 200, 100, 150, 550, 250, 999]


def objective(eval_config, fidels=None, seed=None):
    return {"loss": eval_config["x"], "runtime": RUNTIMES[eval_config["x"]]}


for n_workers in (2, 3):
    wrapper = there.ObjectiveFuncWrapper(
        objective, n_workers=n_workers, n_evals=7, n_actual_evals_in_opt=14, batch_size=3, save_dir_name=f"{n_workers}"
    )
    for x in range(8):
        wrapper({"x": x})
    results = wrapper.get_results()
    print(wrapper.n_workers, sorted(results), [round(value) for value in results["cumtime"]])
(wrapper,) = there.get_multiple_wrappers(
    objective, n_workers=1, n_evals=3, n_actual_evals_in_opt=4, batch_size=3, save_dir_name="one"
)
for x in range(4):
    wrapper({"x": x})
print(wrapper.get_results()["loss"])
