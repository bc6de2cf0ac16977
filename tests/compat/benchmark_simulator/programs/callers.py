"""A function that threads and processes call: order, files while the run goes on, the end."""

import importlib
import json
import multiprocessing
import os
import sys
import threading

there = importlib.import_module(sys.argv[1])
RUNTIMES = {0: [1000, 103, 205, 201, 207, 302], 1: [300, 303, 304, 305, 606, 407]}
SENTINEL = float(1 << 30)


def objective(eval_config, fidels=None, seed=None, data=None):
    worker, number = eval_config["worker"], eval_config["number"]
    return {"loss": 100 * worker + number, "runtime": RUNTIMES[worker][number % 6], "data": data}


def work(wrapper, worker, say=None):
    number = 0
    while True:
        answer = wrapper({"worker": worker, "number": number}, data=[1])
        if say is not None:
            say(worker, answer)
        if answer["loss"] >= SENTINEL:
            assert answer == {"loss": SENTINEL, "runtime": SENTINEL}
            return
        number += 1


def in_file(path, key):
    with open(path) as file:
        return len(json.load(file).get(key, ()))


def show(wrapper):
    results = wrapper.get_results()
    print(sorted(results), results["loss"][:8], [round(value) for value in results["cumtime"][:8]])
    print(sorted(wrapper.get_optimizer_overhead()))


def alone():
    settings = {"n_workers": 1, "n_evals": 3, "n_actual_evals_in_opt": 4, "save_dir_name": "alone"}
    wrapper = there.ObjectiveFuncWrapper(objective, **settings)
    paths = [wrapper.result_file_path, wrapper.optimizer_overhead_file_path]
    print([os.path.exists(path) for path in paths], in_file(paths[0], "loss"))
    for number in range(5):
        answer = wrapper({"worker": 0, "number": number})
        columns = [in_file(paths[0], "loss"), in_file(paths[0], "worker_index")]
        print(sorted(answer.items()), columns, in_file(paths[1], "after_sample") > min(number, 2))
    show(wrapper)


def threads():
    wrapper = there.ObjectiveFuncWrapper(
        objective, n_workers=2, n_evals=8, n_actual_evals_in_opt=12, save_dir_name="threads", careful_init=True
    )
    order = []

    def say(worker, answer):
        order.append((worker, answer["loss"], in_file(wrapper.result_file_path, "loss") > len(order)))

    started = threading.Event()
    callers = [threading.Thread(target=work, args=(wrapper, worker, say)) for worker in (0, 1)]
    for caller in callers:
        caller.start()
        started.wait(0.05)
    for caller in callers:
        caller.join()
    print(order[:7])  # the eighth ends the run for both at once
    show(wrapper)


def several(names):
    """A wrapper for each process, made here or there."""
    wrappers = there.get_multiple_wrappers(
        objective, n_workers=2, n_evals=8, n_actual_evals_in_opt=12, save_dir_name=names[0]
    )
    print(len(wrappers), len({wrapper.dir_name for wrapper in wrappers}))
    context = multiprocessing.get_context("fork")
    callers = [context.Process(target=work, args=(wrapper, worker)) for worker, wrapper in enumerate(wrappers)]
    callers += [context.Process(target=launched, args=(names[1], worker)) for worker in (0, 1)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    print([caller.exitcode for caller in callers])
    show(wrappers[0])
    with open(os.path.join(os.path.dirname(wrappers[0].dir_name), names[1], "results.json")) as file:
        results = json.load(file)
    print(sorted(results), results["loss"][:8])


def launched(name, worker):
    wrapper = there.ObjectiveFuncWrapper(
        objective,
        launch_multiple_wrappers_from_user_side=True,
        n_workers=2,
        n_evals=8,
        n_actual_evals_in_opt=12,
        save_dir_name=name,
        worker_index=worker,
    )
    work(wrapper, worker)


if __name__ == "__main__":
    alone()
    threads()
    several(["made-here", "launched"])
