"""Checks the arguments of the simulated wrapper."""

from __future__ import annotations

import dataclasses
import datetime
import os
from typing import Any

from evalpool._checks import check_choice, check_number, is_real, is_whole
from evalpool.errors import BadArgument
from evalpool.simulation._files import DIRECTORY, LOG
from evalpool.simulation._run import RunSettings

__all__ = ["WrapperOptions", "directory_of", "is_shared"]


@dataclasses.dataclass(frozen=True)
class WrapperOptions:
    """All arguments of `ObjectiveFuncWrapper`; `settings` checks them."""

    launched: Any
    ask_and_tell: Any
    save_dir_name: Any
    n_actual_evals_in_opt: Any
    worker_index: Any
    tmp_dir: Any
    n_workers: Any
    n_evals: Any
    fidel_keys: Any
    obj_keys: Any
    runtime_key: Any
    seed: Any
    continual_max_fidel: Any
    max_waiting_time: Any
    check_interval_time: Any
    store_config: Any
    store_actual_cumtime: Any
    allow_parallel_sampling: Any
    config_tracking: Any
    max_total_eval_time: Any
    expensive_sampler: Any
    batch_size: Any
    overhead: Any
    on_lost: Any

    def settings(self) -> RunSettings:
        """Check the arguments and return the settings of the run. Raises `BadArgument` with the value."""
        n_workers, n_evals = (check_number(name, getattr(self, name), 1) for name in ("n_workers", "n_evals"))
        check_number("n_actual_evals_in_opt", self.n_actual_evals_in_opt, 1)
        seed, max_fidel, batch_size = (
            None if getattr(self, name) is None else check_number(name, getattr(self, name), least)
            for name, least in (("seed", 0), ("continual_max_fidel", 1), ("batch_size", 1))
        )
        check_choice("on_lost", self.on_lost, ("fail", "leave", "raise"))
        if not callable(self.overhead):
            check_choice("overhead", self.overhead, ("measured", "cpu", "none"))
        self._check_names()
        self._check_seconds("max_waiting_time", above_zero=True)
        self._check_seconds("max_total_eval_time", above_zero=True)
        self._check_seconds("check_interval_time")
        self._check_together()
        waits_for_real = self.expensive_sampler and not self.ask_and_tell
        alone = self.allow_parallel_sampling or waits_for_real or callable(self.overhead)
        return RunSettings(
            n_workers=n_workers,
            n_evals=n_evals,
            obj_keys=tuple(self.obj_keys),
            runtime_key=self.runtime_key,
            fidel_keys=None if self.fidel_keys is None else tuple(self.fidel_keys),
            seed=seed,
            continual_max_fidel=max_fidel,
            batch_size=batch_size,
            max_total_eval_time=float(self.max_total_eval_time),
            overhead=self.overhead if isinstance(self.overhead, str) else "declared",
            sampling="parallel" if alone else "serial",
            expensive_sampler=bool(self.expensive_sampler),
            max_waiting_time=float(self.max_waiting_time),
            check_interval_time=float(self.check_interval_time),
            store_config=bool(self.store_config),
            store_actual_cumtime=bool(self.store_actual_cumtime),
            config_tracking=bool(self.config_tracking),
            on_lost=self.on_lost,
        )

    def _check_names(self) -> None:
        for name in ("obj_keys", "fidel_keys"):
            keys = getattr(self, name)
            if keys is None:
                continue
            if isinstance(keys, str) or not all(isinstance(key, str) for key in keys):
                raise BadArgument(f"{name} is {keys!r}; give a list of names: {name}=['a', 'b'].")
            if len(set(keys)) != len(list(keys)):
                raise BadArgument(f"{name} is {keys!r}; give each name once.")
        if not self.obj_keys:
            raise BadArgument("obj_keys is empty; name at least one objective.")
        if not isinstance(self.runtime_key, str):
            raise BadArgument(f"runtime_key is {self.runtime_key!r}; give a name.")

    def _check_seconds(self, name: str, *, above_zero: bool = False) -> None:
        value = getattr(self, name)
        if not is_real(value) or not value >= 0 or (above_zero and value == 0):
            raise BadArgument(f"{name} is {value!r}; give seconds{' above 0' if above_zero else ', 0 or more'}.")

    def _check_together(self) -> None:
        callers = 1 if self.batch_size is not None else self.n_workers
        if self.ask_and_tell and self.launched:
            raise BadArgument(
                "ask_and_tell and launch_multiple_wrappers_from_user_side cannot be True at the same time: the first "
                "calls the objective in this program, the second in separate programs."
            )
        if self.launched and self.save_dir_name is None:
            raise BadArgument(
                "With launch_multiple_wrappers_from_user_side=True, save_dir_name must be given: the programs need it "
                "to find each other."
            )
        if self.n_actual_evals_in_opt < callers + self.n_evals:
            raise BadArgument(
                "Cannot guarantee that optimizers will not hang: n_actual_evals_in_opt="
                f"{self.n_actual_evals_in_opt} is below {callers + self.n_evals} (= n_evals + n_workers). Let the "
                "optimizer make at least that many calls, and give their number as n_actual_evals_in_opt."
            )
        if self.continual_max_fidel is not None and (self.fidel_keys is None or len(self.fidel_keys) != 1):
            raise BadArgument(
                f"continual_max_fidel is valid only if fidel_keys has only one element, but got "
                f"fidel_keys={self.fidel_keys!r}."
            )
        if self.allow_parallel_sampling and self.expensive_sampler:
            raise BadArgument(
                "expensive_sampler and allow_parallel_sampling cannot be True at the same time: workers that wait for "
                "one sampler do not decide in parallel."
            )
        if self.expensive_sampler and self.overhead != "measured" and not self.ask_and_tell:
            raise BadArgument(
                "expensive_sampler uses the real time of decisions, so it needs overhead='measured', not "
                f"{self.overhead!r}."
            )
        if self.worker_index is not None:
            if not self.launched:
                raise BadArgument("worker_index can be given only with launch_multiple_wrappers_from_user_side=True.")
            if not is_whole(self.worker_index) or self.worker_index not in range(callers):
                raise BadArgument(f"worker_index must be in [0, {callers - 1}], but got {self.worker_index!r}.")


def directory_of(save_dir_name: str | None, tmp_dir: str | None) -> str:
    """Return the path of a run's directory."""
    if save_dir_name is None:
        save_dir_name = f"data-{datetime.datetime.now():%Y-%m-%d-%H:%M:%S.%f}"
    return os.path.join(tmp_dir or "", DIRECTORY, save_dir_name)


def is_shared(directory: str) -> bool:
    """Whether this directory is new, or belongs to programs that are launched separately."""
    names = set(os.listdir(directory))
    return not names or "start.lock" in names or LOG not in names
