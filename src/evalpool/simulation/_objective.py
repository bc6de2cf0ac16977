"""The objective of a simulated wrapper: checks its arguments and results, and makes the text that the log keeps."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from typing import Any

from evalpool._json import plain, to_json
from evalpool.errors import BadArgument, WrongKeys
from evalpool.simulation._caller import failure_text
from evalpool.simulation._checkpoints import check_fidelity, digest
from evalpool.simulation._run import RunSettings
from evalpool.simulation._seconds import check_runtime

__all__ = ["Objective"]

WORD = 1 << 63
"""Larger whole numbers may have too many digits for JSON."""


class Objective:
    """Calls the user's function according to a run's settings.

    Args:
        function: ``f(eval_config, fidels=None, seed=None, **data)`` returning a dict.
        settings: of the run.

    Raises:
        BadArgument: it cannot be called.
    """

    def __init__(self, function: Callable[..., dict[str, Any]], settings: RunSettings) -> None:
        if not callable(function):
            raise BadArgument(f"obj_func is {function!r} of type {type(function).__name__}, which cannot be called.")
        self._function = function
        self._settings = settings
        self._wanted = frozenset((*settings.obj_keys, settings.runtime_key))
        self._obj_keys, self._runtime_key = settings.obj_keys, settings.runtime_key
        self._keeps_inputs, self._continues = settings.store_config, settings.continual_max_fidel is not None

    def check_fidels(self, fidels: dict[str, Any] | None) -> int | None:
        """Return the fidelity for continuation; None without continuation. Raises if `fidels` is wrong."""
        keys = self._settings.fidel_keys
        if keys is None:
            if fidels is not None:
                raise BadArgument(
                    f"Objective function got keyword `fidels`, {fidels!r}, but the wrapper was made without fidel_keys."
                )
            return None
        if fidels is None:
            raise BadArgument(
                f"Objective function did not get keyword `fidels`, but the wrapper was made with "
                f"fidel_keys={list(keys)!r}."
            )
        if self._settings.continual_max_fidel is not None and len(fidels) != 1:
            raise BadArgument(
                f"fidels must have only one element when continual_max_fidel is given, but got fidels={fidels!r}."
            )
        if fidels.keys() != set(keys):
            raise WrongKeys(
                f"The keys in fidels must be identical to fidel_keys={list(keys)!r}, but got fidels={fidels!r}."
            )
        if self._settings.continual_max_fidel is None:
            return None
        return check_fidelity(fidels[keys[0]])

    def identify(self, eval_config: dict[str, Any], config_id: Any, fidelity: int | None) -> dict[str, Any]:
        """Return what the coordinator is told of a configuration."""
        if config_id is None:
            return {"key": digest(eval_config), "fidelity": fidelity}
        tracked = plain(eval_config, lenient=True) if self._settings.config_tracking else None
        return {"key": str(config_id), "eval_config": tracked, "fidelity": fidelity}

    def evaluate(
        self, eval_config: dict[str, Any], fidels: dict[str, Any] | None, seed: int, data: dict[str, Any]
    ) -> tuple[dict[str, Any], float, bytes]:
        """Call the objective; return its results, its runtime, and the text that the log keeps."""
        results = self._function(eval_config=eval_config, fidels=fidels, seed=seed, **data)
        if not isinstance(results, dict) or not self._wanted <= results.keys():
            raise WrongKeys(
                f"The output of objective must be a superset of {sorted(self._wanted)!r}, specified in obj_keys and "
                f"runtime_key, but got results={results!r}."
            )
        runtime = check_runtime(results[self._runtime_key])
        if isinstance(runtime, str):
            raise BadArgument(f"In the output of objective, {results!r}, {runtime}.")
        text = f'"values":[{",".join([_as_json(results[key]) for key in self._obj_keys])}]'.encode()
        return results, runtime, text + self._inputs(eval_config, fidels) if self._keeps_inputs else text

    def reported(self, results: dict[str, Any], charged: float) -> dict[str, Any]:
        """Return what a call of the wrapper returns."""
        kept = {key: results[key] for key in self._obj_keys}
        kept[self._runtime_key] = charged if self._continues else results[self._runtime_key]
        return kept

    def failure(self, error: Exception, eval_config: dict[str, Any], fidels: dict[str, Any] | None) -> bytes:
        """Return the text that the log keeps of a call that raised."""
        text = "".join(traceback.format_exception(error))
        return failure_text(f"F_{type(error).__name__}", text) + self._inputs(eval_config, fidels)

    def _inputs(self, eval_config: dict[str, Any], fidels: dict[str, Any] | None) -> bytes:
        if not self._settings.store_config:
            return b""
        config, given = plain(eval_config, lenient=True), plain(fidels, lenient=True)
        return f',"config":{to_json(config)},"fidels":{to_json(given)}'.encode()


def _as_json(value: Any) -> str:
    if (value.__class__ is float and math.isfinite(value)) or (value.__class__ is int and -WORD < value < WORD):
        return repr(value)
    return to_json(value)
