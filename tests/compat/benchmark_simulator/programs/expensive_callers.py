"""Workers that call, and one thread that decides for all of them for as long as they evaluate."""

import importlib
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

there = importlib.import_module(sys.argv[1])
UNIT = 0.15

wrapper = there.ObjectiveFuncWrapper(
    lambda eval_config, **_: {"loss": 0.0, "runtime": 0.9 * UNIT},
    n_workers=2,
    n_evals=5,
    n_actual_evals_in_opt=10,
    expensive_sampler=True,
    save_dir_name="calls",
)
known, seen, futures = [], 0, set()
with ThreadPoolExecutor(2) as pool:
    for number in range(7):
        if number >= 2:
            done, futures = wait(futures, return_when=FIRST_COMPLETED)
            seen += len(done)
        known.append(seen)
        time.sleep((seen + 1) * UNIT if number < 5 else 0.0)
        futures.add(pool.submit(wrapper, {"x": number}))
        time.sleep(0.01 * UNIT)
print(known[:5], [round(end / UNIT) for end in wrapper.get_results()["cumtime"][:5]])
