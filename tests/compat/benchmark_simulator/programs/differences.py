"""What is not the same on both, a line for each."""

import importlib
import multiprocessing
import os
import sys
import threading
import time
import warnings

there = importlib.import_module(sys.argv[1])


def say(what, value):
    print(f"{what}: {value}", flush=True)


class Optimizer(there.AbstractAskTellOptimizer):
    def __init__(self, proposals=None, seconds=0.0):
        self.proposals, self.seconds = proposals, seconds
        self.told, self.known = [], []

    def ask(self):
        number = len(self.known)
        self.known.append(len(self.told))
        time.sleep(self.seconds if number >= 3 or self.seconds < 0.05 else 0.0)
        return self.proposals[number] if self.proposals else ({"x": number}, None, None)

    def tell(self, eval_config, results, **kwargs):
        self.told.append(results)


def objective(eval_config, fidels=None, seed=None):
    if fidels:
        return {"loss": 0, "runtime": 10 * sum(fidels.values())}
    if eval_config.get("fails"):
        raise ZeroDivisionError("in the objective")
    if eval_config.get("dies"):
        os._exit(1)
    return {"loss": eval_config.get("x", 0), "seed": seed, "runtime": eval_config.get("runtime", 1000)}


def make(name, **settings):
    settings = {"n_workers": 2, "n_evals": 4, "n_actual_evals_in_opt": 6, "save_dir_name": name, **settings}
    return there.ObjectiveFuncWrapper(objective, **settings)


def simulated(name, optimizer, **settings):
    wrapper = make(name, ask_and_tell=True, **settings)
    try:
        wrapper.simulate(optimizer)
    except TimeoutError:
        return "TimeoutError"
    return wrapper.get_results()


def kept(name, **settings):
    wrapper = make(name, n_workers=1, **settings)
    for x in range(2):
        wrapper({"x": x})
    return len(wrapper.get_results().get("loss", []))


def kind_of(attempt):
    try:
        return attempt()
    except (ValueError, KeyError) as error:
        return "KeyError" if isinstance(error, KeyError) else "ValueError"


def calls(wrapper, configurations, answers):
    for configuration in configurations:
        try:
            answers.put(wrapper(configuration)["loss"])
        except Exception as error:
            answers.put("TimeoutError" if isinstance(error, TimeoutError) else type(error).__name__)


if __name__ == "__main__":
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make("many", ask_and_tell=True, n_workers=1000, n_actual_evals_in_opt=2000)
    say("warnings for a thousand workers", bool(caught))

    wrapper = make("dies", max_waiting_time=1.0)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    dies = context.Process(target=calls, args=(wrapper, [{"dies": True}], answers))
    lives = context.Process(target=calls, args=(wrapper, [{"x": 1}, {"x": 2}], answers))
    for process in (lives, dies):
        process.start()
        time.sleep(0.3)
    say("beside a worker that dies", answers.get())
    for process in (dies, lives):
        process.terminate()
        process.join()

    wrapper = make("fails", n_workers=1)
    calls(wrapper, [{"fails": True}, {"x": 1}], context.Queue())
    say("after a failure", wrapper.get_results()["loss"])

    # worker-0:     |0: 0.1|thinks 0.3 s|...
    # worker-1, -2: |1: 0.15|, |2: 0.2| end meanwhile
    proposals = [({"runtime": runtime}, None, None) for runtime in (0.1, 0.15, 0.2, 9, 9, 9)]
    slow = Optimizer(proposals, seconds=0.3)
    simulated("slow", slow, n_workers=3, n_actual_evals_in_opt=7)
    say("known before each decision", slow.known[:5])
    slow = Optimizer(proposals, seconds=0.3)
    results = simulated("n", slow, n_workers=3, n_evals=2, n_actual_evals_in_opt=7, expensive_sampler=True)
    say("results of n_evals=2", len(results["loss"]))
    limited = simulated("limit", Optimizer(), max_total_eval_time=1500, n_workers=1, expensive_sampler=True)
    say("ends within 1500 s", [round(end) for end in limited["cumtime"]])

    say("with n_evals=0", kind_of(lambda: kept("none", n_evals=0)))
    say("within -1 s", kind_of(lambda: kept("before", max_total_eval_time=-1.0)))
    names = make("names", n_workers=1, fidel_keys=["epoch"], continual_max_fidel=9)
    say("another name of the fidelity", kind_of(lambda: names({"x": 1}, fidels={"size": 1})["loss"]))

    batches = Optimizer()
    simulated("batches", batches, n_workers=2, batch_size=2)
    say("known before each decision of batches of two", batches.known[:4])

    seeds = [simulated(name, Optimizer(), seed=3, store_config=True)["seed"] for name in ("seed-1", "seed-2")]
    say("seeds of two runs are the same", seeds[0] == seeds[1])
    say("the first seed of 3", seeds[0][0])

    rungs = Optimizer([({"x": 1}, {"epoch": epoch}, None) for epoch in (1, 3, 9, 9)])
    simulated("rungs", rungs, n_workers=1, n_evals=3, fidel_keys=["epoch"], continual_max_fidel=9)
    say("charged for epochs 1, 3, 9", [round(results["runtime"]) for results in rungs.told])

    early = Optimizer([({"runtime": 0.01}, None, None)] * 9, seconds=0.04)
    said = simulated("early", early)
    say("decisions longer than evaluations", said if isinstance(said, str) else f"{len(said['loss'])} results")

    time_of = time.thread_time
    wrapper = make("waits", max_waiting_time=3.0)
    used = []

    def waits():
        began = time_of()
        try:
            wrapper({"x": 1, "runtime": 9})
        except TimeoutError:
            used.append(time_of() - began)

    other = threading.Thread(target=waits)
    other.start()
    other.join(30)
    say("a waiting call uses CPU time", used[0] > 0.1)
