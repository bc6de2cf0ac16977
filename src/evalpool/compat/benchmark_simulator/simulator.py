"""`ObjectiveFuncWrapper` as programs of mfhpo-simulator know it.

Each difference to the core is a method here:

- the files of `_files` exist while the run goes on: its programs look at them (`after_evaluation`, `simulate`);
- `ask_and_tell` takes a directory that is there already: its programs are run again without clearing up (`_core_of`);
- a call that was evaluating when others gave up on the run returns its results: only callers that wait
  then get the error at once, the others at their next call (`__call__`);
- `tell` gets ``fidels={}`` where there are none (`_Told`);
- three errors begin with the words by which its programs recognise them (`_said_as_there`).
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import math
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal

from evalpool import BadArgument, MemberLost, RunExists, simulation
from evalpool.compat.benchmark_simulator import _files
from evalpool.compat.benchmark_simulator._constants import (
    DIR_NAME,
    AbstractAskTellOptimizer,
    ObjectiveFuncType,
    _SharedDataFileNames,
)

__all__ = ["AbstractAskTellOptimizer", "ObjectiveFuncType", "ObjectiveFuncWrapper", "get_multiple_wrappers"]

CORE = "evalpool"
NOT_FOR_THE_CORE = ("self", "__class__", "careful_init")
Overhead = Literal["measured", "cpu", "none"] | Callable[[int, int], float]

_evaluated = threading.local()
"""`results`: what the objective gave in this thread's call."""


class ObjectiveFuncWrapper(simulation.ObjectiveFuncWrapper):
    """As `evalpool.simulation.ObjectiveFuncWrapper`, with mfhpo-simulator's files; see the module.

    The arguments are those of its later releases, in their order, and after them those that only evalpool has. Workers
    are counted in the order in which they call, whatever `careful_init` says: there is nothing that it must do.
    """

    def __init__(
        self,
        obj_func: ObjectiveFuncType | Callable[..., dict[str, Any]],
        launch_multiple_wrappers_from_user_side: bool = False,
        ask_and_tell: bool = False,
        save_dir_name: str | None = None,
        n_workers: int = 4,
        n_actual_evals_in_opt: int = 105,
        n_evals: int = 100,
        fidel_keys: list[str] | None = None,
        obj_keys: list[str] | None = None,
        runtime_key: str = "runtime",
        seed: int | None = None,
        continual_max_fidel: int | None = None,
        max_waiting_time: float = math.inf,
        check_interval_time: float = 1e-4,
        store_config: bool = False,
        store_actual_cumtime: bool = False,
        allow_parallel_sampling: bool = False,
        config_tracking: bool = True,
        worker_index: int | None = None,
        max_total_eval_time: float = math.inf,
        expensive_sampler: bool = False,
        careful_init: bool = False,
        tmp_dir: str | None = None,
        batch_size: int | None = None,
        *,
        overhead: Overhead = "measured",
        on_lost: Literal["fail", "leave", "raise"] = "fail",
    ) -> None:
        arguments = {name: given for name, given in locals().items() if name not in NOT_FOR_THE_CORE}
        launched = launch_multiple_wrappers_from_user_side
        name = save_dir_name
        if name is None and not launched:
            name = f"data-{datetime.datetime.now():%Y-%m-%d-%H:%M:%S.%f}"
        self._directory = os.path.join(tmp_dir or "", DIR_NAME, name or "")
        if not launched and not ask_and_tell and os.path.exists(self._directory):
            raise RunExists(f"The directory `{self._directory}` already exists. Remove it first, or give another name.")
        arguments["save_dir_name"] = self._core_of(name, ask_and_tell)
        if callable(obj_func):
            arguments["obj_func"] = _Remembering(obj_func)
        with _said_as_there():
            super().__init__(**arguments)
        self._core = os.path.abspath(super().dir_name)  # absolute: a worker may have another working directory
        self._published = 0
        if not ask_and_tell:
            _files.begin(os.path.dirname(self._core))

    def _core_of(self, name: str | None, ask_and_tell: bool) -> str | None:
        """The core's directory: one that is not there yet, where an optimiser may be simulated again."""
        if name is None:
            return None
        run, number = CORE, 1
        while ask_and_tell and os.path.exists(os.path.join(self._directory, run)):
            number += 1
            run = f"{CORE}-{number}"
        return os.path.join(name, run)

    @property
    def dir_name(self) -> str:
        """The directory of the results."""
        return self._directory

    @property
    def result_file_path(self) -> str:
        return os.path.join(self._directory, _SharedDataFileNames.result.value)

    @property
    def optimizer_overhead_file_path(self) -> str:
        return os.path.join(self._directory, _SharedDataFileNames.sampled_time.value)

    def get_results(self) -> dict[str, list[Any]]:
        """The columns of ``results.json``: those so far. The worker's is ``worker_index``, as in later releases."""
        self._publish_whole()
        return _files.read(self._file(_SharedDataFileNames.result))

    def get_optimizer_overhead(self) -> dict[str, list[Any]]:
        """``before_sample``, ``after_sample`` and ``worker_index`` of each decision."""
        self._publish_whole()
        return _files.read(self._file(_SharedDataFileNames.sampled_time))

    def after_evaluation(self) -> None:
        self._publish()

    def simulate(self, opt: Any) -> None:
        complete = hasattr(opt, "ask") and hasattr(opt, "tell")
        with _said_as_there():
            super().simulate(_Told(opt) if complete else opt)
        _files.begin(os.path.dirname(self._core))
        self._publish_whole()

    def __call__(
        self,
        eval_config: dict[str, Any],
        *,
        fidels: dict[str, int | float] | None = None,
        config_id: int | None = None,
        **data_to_scatter: Any,
    ) -> dict[str, Any]:
        _evaluated.results = None
        try:
            return super().__call__(eval_config, fidels=fidels, config_id=config_id, **data_to_scatter)
        except MemberLost as error:
            results = _evaluated.results
            if results is None or isinstance(error, TimeoutError):
                raise
            return {key: results[key] for key in (*self.obj_keys, self.runtime_key)}
        finally:
            _evaluated.results = None

    def _file(self, which: _SharedDataFileNames) -> str:
        return os.path.join(os.path.dirname(self._core), which.value)

    def _publish(self) -> None:
        """Bring the files up to date, if something has happened since this wrapper did."""
        size = _files.log_size(self._core)
        if size not in (0, self._published):
            _files.publish(os.path.dirname(self._core), self._core, self)
            self._published = size

    def _publish_whole(self) -> None:
        if _files.log_size(self._core):
            _files.publish(os.path.dirname(self._core), self._core, self, whole=True)


class _Remembering:
    """An objective whose results of this call are kept beside it."""

    def __init__(self, obj_func: Callable[..., dict[str, Any]]) -> None:
        self._obj_func = obj_func

    def __call__(self, **arguments: Any) -> dict[str, Any]:
        results = self._obj_func(**arguments)
        _evaluated.results = results
        return results


class _Told:
    """An optimiser that is told ``fidels={}`` where there are none."""

    def __init__(self, opt: Any) -> None:
        self.ask = opt.ask

        @functools.wraps(opt.tell)
        def tell(*args: Any, **kwargs: Any) -> None:
            if "fidels" in kwargs:
                kwargs["fidels"] = kwargs["fidels"] or {}
            opt.tell(*args, **kwargs)

        self.tell = tell


SAID_THERE = {
    "Cannot guarantee that optimizers": "Cannot guarantee that optimziers",
    "With launch_multiple_wrappers_from_user_side": (
        "When launch_multiple_wrappers_from_user_side is False, a name is made up; with it"
    ),
    "The optimizer ": "opt must have `ask` and `tell` methods: ",
}
"""How errors of the core begin, and there, where one word is misspelt."""


@contextlib.contextmanager
def _said_as_there() -> Iterator[None]:
    """Programs recognise some errors by their first words."""
    try:
        yield
    except BadArgument as error:
        for ours, theirs in SAID_THERE.items():
            if str(error).startswith(ours):
                raise BadArgument(theirs + str(error).removeprefix(ours)) from None
        raise


def get_multiple_wrappers(
    obj_func: ObjectiveFuncType | Callable[..., dict[str, Any]],
    save_dir_name: str | None = None,
    n_workers: int = 4,
    n_actual_evals_in_opt: int = 105,
    n_evals: int = 100,
    fidel_keys: list[str] | None = None,
    obj_keys: list[str] | None = None,
    runtime_key: str = "runtime",
    seed: int | None = None,
    continual_max_fidel: int | None = None,
    max_waiting_time: float = math.inf,
    check_interval_time: float = 1e-4,
    store_config: bool = False,
    store_actual_cumtime: bool = False,
    allow_parallel_sampling: bool = False,
    config_tracking: bool = True,
    max_total_eval_time: float = math.inf,
    expensive_sampler: bool = False,
    tmp_dir: str | None = None,
    batch_size: int | None = None,
    *,
    overhead: Overhead = "measured",
    on_lost: Literal["fail", "leave", "raise"] = "fail",
) -> list[ObjectiveFuncWrapper]:
    """As `evalpool.simulation.get_multiple_wrappers`, with mfhpo-simulator's files."""
    return ObjectiveFuncWrapper(**locals()).per_caller()  # the arguments, and nothing else yet
