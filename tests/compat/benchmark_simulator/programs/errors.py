"""What programs catch, by the builtins that it is."""

import importlib
import os
import sys
import threading
import time

there = importlib.import_module(sys.argv[1])
BUILTINS = [
    ValueError,
    KeyError,
    FileExistsError,
    NotImplementedError,
    TimeoutError,
    InterruptedError,
    ProcessLookupError,
]


def objective(eval_config, fidels=None, seed=None):
    time.sleep(eval_config.get("seconds", 0.0))
    return {"loss": eval_config.get("x", 0), "runtime": eval_config.get("runtime", 1.0)}


lock = threading.Lock()


def attempt(text, function, *args, **kwargs):
    try:
        answer = function(*args, **kwargs)
    except Exception as error:
        kinds = [kind.__name__ for kind in BUILTINS if isinstance(error, kind)]
        said = "TimeoutError" if "TimeoutError" in kinds else "/".join(kinds) or type(error).__name__
    else:
        said = sorted(answer.items()) if isinstance(answer, dict) else "made"
    with lock:
        print(text, "->", said)


def make(name, **settings):
    settings = {"n_workers": 1, "n_evals": 2, "n_actual_evals_in_opt": 3, "save_dir_name": name, **settings}
    return there.ObjectiveFuncWrapper(settings.pop("obj_func", objective), **settings)


def calls_and_stays(_, function, configuration):
    function(configuration)
    threading.Event().wait()


class Nothing:
    def ask(self):
        return {}, None, None


attempt("both modes", make, "a", ask_and_tell=True, launch_multiple_wrappers_from_user_side=True)
attempt("launched without a name", make, None, launch_multiple_wrappers_from_user_side=True)
attempt("too few calls", make, "b", n_actual_evals_in_opt=2)
attempt("worker of nobody", make, "c", worker_index=0)
attempt("continuation of nothing", make, "d", continual_max_fidel=9)
attempt("both samplers", make, "e", ask_and_tell=True, expensive_sampler=True, allow_parallel_sampling=True)
wrapper = make("f")
attempt("the same directory", make, "f")
attempt("the same directory for several", there.get_multiple_wrappers, objective, "f", 1, 3, 2)
attempt("simulate of a function", wrapper.simulate, Nothing())
attempt("fidelities without keys", wrapper, {}, fidels={"epoch": 1})
asks = make("g", ask_and_tell=True)
attempt("a call of what asks", asks, {})
attempt("no tell", asks.simulate, Nothing())
wrapper = make("h", fidel_keys=["epoch"])
attempt("keys without fidelities", wrapper, {})
attempt("other fidelities", wrapper, {}, fidels={"size": 1})
wrapper = make("i", fidel_keys=["epoch"], continual_max_fidel=9)
attempt("a fidelity that is no integer", wrapper, {}, fidels={"epoch": 1.0})
attempt("a negative fidelity", wrapper, {}, fidels={"epoch": -1})
attempt("an id", wrapper, {"x": 1}, fidels={"epoch": 1}, config_id=1)
attempt("of something else", wrapper, {"x": 2}, fidels={"epoch": 1}, config_id=1)
attempt("no such objective", make("j", obj_keys=["other"]), {})
attempt("no such runtime", make("k", runtime_key="other"), {})


# A call that waits for long gives up; who was evaluating gets its results; then all are told.
wrapper = make("l", n_workers=2, n_actual_evals_in_opt=4, max_waiting_time=0.3)
first = threading.Event()


def worker(number):
    if number == 0:
        attempt("is never released", wrapper, {"x": 1, "runtime": 9.0})
        first.wait()
        attempt("and then", wrapper, {"x": 1})
    else:
        attempt("evaluates meanwhile", wrapper, {"x": 2, "seconds": 2.0})
        first.set()
        attempt("and then", wrapper, {"x": 2})


callers = [threading.Thread(target=worker, args=(number,)) for number in (0, 1)]
for caller in callers:
    caller.start()
    time.sleep(0.1)
for caller in callers:
    caller.join()


# A caller too many.
wrapper = make("m", n_workers=2, n_evals=20, n_actual_evals_in_opt=22)
for number in range(3):
    attempts = (f"caller {number}", wrapper, {"x": 1}) if number == 2 else ("", wrapper, {"x": 1})
    caller = threading.Thread(target=attempt if number == 2 else calls_and_stays, args=attempts, daemon=True)
    caller.start()
    caller.join(0.5)
sys.stdout.flush()
os._exit(0)  # the second of two waits for the first
