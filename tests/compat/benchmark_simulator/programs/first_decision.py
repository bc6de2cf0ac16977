"""The time before a worker's first call is charged, from when the wrapper was made."""

import importlib
import sys
import threading
import time

there = importlib.import_module(sys.argv[1])


def objective(eval_config, fidels=None, seed=None):
    return {"loss": eval_config["x"], "runtime": 10.0}


for allow_parallel_sampling in (False, True):
    wrapper = there.ObjectiveFuncWrapper(
        objective,
        n_workers=2,
        n_evals=2,
        n_actual_evals_in_opt=4,
        save_dir_name=f"{allow_parallel_sampling}",
        allow_parallel_sampling=allow_parallel_sampling,
    )

    def calls(x, seconds, wrapper=wrapper):
        time.sleep(seconds)
        while wrapper({"x": x})["loss"] < 2**30:
            pass

    callers = [threading.Thread(target=calls, args=pair) for pair in ((0, 0.3), (1, 0.6))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    results, overhead = wrapper.get_results(), wrapper.get_optimizer_overhead()
    print(results["loss"][:2], [int(10 * (value - 9.95)) for value in results["cumtime"][:2]])
    print([int(10 * (value + 0.05)) for value in overhead["after_sample"][:2]])
