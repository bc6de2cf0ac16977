"""What a job of one fidelity leaves for a later one of the same configuration.

Training that stopped after 3 epochs goes on at 9 from where it was: the later job is charged the difference
of the two totals. A checkpoint can be taken by one job only, and only by one that starts when it exists.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, NamedTuple

from evalpool._checks import is_real, is_whole
from evalpool._json import jsonable, plain, to_json
from evalpool.errors import BadArgument

__all__ = ["Checkpoint", "Checkpoints", "Configurations", "check_continuation", "check_fidelity"]

RELATIVE, ABSOLUTE = 1e-5, 1e-8
"""How far two numbers of one `config_id` may lie apart: optimisers encode and decode their floats on the way.
The values are those of `numpy.isclose`, which mfhpo-simulator uses for the same purpose."""


class Checkpoint(NamedTuple):
    """The state that a job left.

    Attributes:
        fidelity: of the job that left it.
        total: seconds of virtual time that this fidelity takes from scratch.
        ready: when that job ended; nothing that starts earlier may resume it.
        job: its number.
        seed: of that job, inherited by the one that resumes it.
    """

    fidelity: int
    total: float
    ready: float
    job: int
    seed: int | None


class Checkpoints:
    """Per configuration, the checkpoints that nobody has resumed yet. Costs as many steps as one has."""

    __slots__ = ("_by_key", "_left_by")

    def __init__(self) -> None:
        self._by_key: dict[str, list[Checkpoint]] = {}
        self._left_by: dict[int, str] = {}  # job -> key

    def leave(self, key: str, checkpoint: Checkpoint) -> None:
        self._by_key.setdefault(key, []).append(checkpoint)
        self._left_by[checkpoint.job] = key

    def take(self, key: str, fidelity: int, start: float) -> Checkpoint | None:
        """The one of the largest fidelity below `fidelity` that is ready at `start`; it is consumed.

        Among equal fidelities the one that was ready first, then that of the smallest job number: never the
        one whose result happened to arrive first.
        """
        best = None
        for checkpoint in self._by_key.get(key, ()):
            if checkpoint.fidelity >= fidelity or checkpoint.ready > start:
                continue
            if best is None or _preference(checkpoint) > _preference(best):
                best = checkpoint
        if best is not None:
            self._remove(key, best)
        return best

    def cancel(self, job: int) -> None:
        """Forget what `job` was to leave, if anything: it was stopped before its end."""
        key = self._left_by.get(job)
        if key is not None:
            self._remove(key, next(left for left in self._by_key[key] if left.job == job))

    def _remove(self, key: str, checkpoint: Checkpoint) -> None:
        left = self._by_key[key]
        left.remove(checkpoint)
        del self._left_by[checkpoint.job]
        if not left:
            del self._by_key[key]

    def state(self) -> dict[str, list[list[Any]]]:
        """As JSON: key -> ``[fidelity, total, ready, job, seed]`` of each."""
        return {key: [list(checkpoint) for checkpoint in left] for key, left in self._by_key.items()}

    def restore(self, state: dict[str, list[list[Any]]]) -> None:
        self._by_key = {key: [Checkpoint(*values) for values in left] for key, left in state.items()}
        self._left_by = {checkpoint.job: key for key, left in self._by_key.items() for checkpoint in left}


def _preference(checkpoint: Checkpoint) -> tuple[int, float, int]:
    return (checkpoint.fidelity, -checkpoint.ready, -checkpoint.job)


class Configurations:
    """Names configurations: the same one has the same key in every process and on every run.

    Args:
        tracking: remember what each `config_id` stood for, and refuse it for another configuration.
            Without, nothing is kept and nothing is compared.
    """

    __slots__ = ("_by_id", "tracking")

    def __init__(self, tracking: bool = True) -> None:
        self.tracking = tracking
        self._by_id: dict[str, dict[str, Any]] = {}

    def key(self, configuration: dict[str, Any], config_id: Any = None) -> str:
        """Raises `BadArgument` for a `config_id` that stood for another configuration, with both."""
        if config_id is None:
            return digest(configuration)
        name = str(config_id)
        if self.tracking:
            new = plain(configuration, "configuration", lenient=True)
            known = self._by_id.setdefault(name, new)
            if known is not new and not _alike(known, new):
                raise BadArgument(
                    f"config_id {config_id!r} stood for {known!r} and comes back with {new!r}; give each "
                    "configuration a config_id of its own."
                )
        return name

    def identify(self, configuration: dict[str, Any], fidel_key: str, config_id: Any = None) -> tuple[str, int]:
        """The key of a configuration that holds its own fidelity, and that fidelity. Raises `BadArgument`."""
        if fidel_key not in configuration:
            raise BadArgument(f"The configuration {configuration!r} lacks the fidelity {fidel_key!r}.")
        rest = {name: value for name, value in configuration.items() if name != fidel_key}
        return self.key(rest, config_id), check_fidelity(configuration[fidel_key])

    def state(self) -> dict[str, Any]:
        return {"tracking": self.tracking, "by_id": self._by_id}

    def restore(self, state: dict[str, Any]) -> None:
        self.tracking, self._by_id = state["tracking"], dict(state["by_id"])


def digest(configuration: dict[str, Any]) -> str:
    """Of the canonical JSON: sorted keys, exact floats. `hash()` of text differs between processes.

    Raises `NotJSON`: the repr of an arbitrary object is no identity; give a `config_id` then.
    """
    text = to_json(_sorted(jsonable(configuration, "configuration")))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one.keys() != other.keys():
        return False
    return all(_same(value, other[key]) for key, value in one.items())


def _same(one: Any, other: Any) -> bool:
    if is_real(one) and is_real(other):
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return bool(one == other)


def check_continuation(continual_max_fidel: Any, fidel_key: Any) -> None:
    """Both or none, and one name. Raises `BadArgument` with the values."""
    if (continual_max_fidel is None) != (fidel_key is None):
        raise BadArgument(
            "Continuation needs both continual_max_fidel and fidel_key, the name of its one fidelity; "
            f"got {continual_max_fidel!r} and {fidel_key!r}."
        )
    if fidel_key is not None and (not isinstance(fidel_key, str) or not fidel_key):
        raise BadArgument(f"fidel_key is {fidel_key!r}; continuation goes by one fidelity: give its name.")


def check_fidelity(value: Any) -> int:
    """A fidelity that can be continued, as an int. Raises `BadArgument` (a `ValueError`) with the value."""
    if not is_whole(value):
        raise BadArgument(f"Fidelity for continual evaluation must be integer, but got fidel={value!r}.")
    fidelity = int(value)
    if fidelity < 0:
        raise BadArgument(f"Fidelity for continual evaluation must be non-negative, but got fidel={value!r}.")
    return int(fidelity)
