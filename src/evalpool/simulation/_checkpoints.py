"""Checkpoints: a job leaves one for a later job of the same configuration and a higher fidelity.

Training that stopped after 3 epochs continues from there up to epoch 9; the later job is charged the difference of the
two totals. Only one job can take a checkpoint, and it must start after the checkpoint exists.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evalpool._checks import is_real, is_whole
from evalpool._json import jsonable, plain, to_json
from evalpool.errors import BadArgument

__all__ = ["Checkpoint", "Checkpoints", "Configurations", "check_continuation", "check_fidelity"]

RELATIVE, ABSOLUTE = 1e-5, 1e-8
"""How much two values of the same `config_id` may differ, because optimisers encode and decode their floats.
The numbers are those of `numpy.isclose`, which mfhpo-simulator uses for the same purpose."""


class Checkpoint(NamedTuple):
    """The checkpoint of one job.

    Attributes:
        fidelity: of the job that left it.
        total: seconds of virtual time that this fidelity takes from scratch.
        ready: when that job ended; a job that starts earlier may not resume it.
        job: that job's number.
        seed: that job's seed, which the job that resumes it inherits.
    """

    fidelity: int
    total: float
    ready: float
    job: int
    seed: int | None


class Checkpoints:
    """Per configuration, the checkpoints that no job has resumed yet. Costs the checkpoints of one configuration."""

    __slots__ = ("_by_key", "_left_by")

    def __init__(self) -> None:
        self._by_key: dict[str, list[Checkpoint]] = {}
        self._left_by: dict[int, str] = {}  # job -> key

    def leave(self, key: str, checkpoint: Checkpoint) -> None:
        self._by_key.setdefault(key, []).append(checkpoint)
        self._left_by[checkpoint.job] = key

    def take(self, key: str, fidelity: int, start: float) -> Checkpoint | None:
        """Take the checkpoint of the largest fidelity below `fidelity` that is ready at `start`; None if there is none.

        Among equal fidelities, the one that was ready first is taken, then the one of the smallest job number. The
        real time at which results arrived never matters.
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

    def are_undecided(
        self,
        job: int,
        asked: tuple[str, int],
        start: float,
        marks: Mapping[int, int],
        ends: Sequence[tuple[float, int, int]],
    ) -> bool:
        """Whether a job that is to leave one which `job` could take may be stopped before that, and leave none.

        Args:
            job: its number.
            asked: its configuration's key and its fidelity.
            start: when it starts.
            marks: running jobs -> how many times are to come at which each may be stopped.
            ends: the heap of these times and of the ends of jobs.
        """
        earlier = bool(ends) and ends[0][0] < start
        return any(
            left.fidelity < asked[1] and left.ready <= start and marks.get(left.job) and (earlier or left.job < job)
            for left in self._by_key.get(asked[0], ())
        )

    def cancel(self, job: int) -> None:
        """Drop the checkpoint that `job` was to leave, if any, because it was stopped before its end."""
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
        """Return all as JSON: key -> ``[fidelity, total, ready, job, seed]`` of each."""
        return {key: [list(checkpoint) for checkpoint in left] for key, left in self._by_key.items()}

    def restore(self, state: dict[str, list[list[Any]]]) -> None:
        self._by_key = {key: [Checkpoint(*values) for values in left] for key, left in state.items()}
        self._left_by = {checkpoint.job: key for key, left in self._by_key.items() for checkpoint in left}


def _preference(checkpoint: Checkpoint) -> tuple[int, float, int]:
    return (checkpoint.fidelity, -checkpoint.ready, -checkpoint.job)


class Configurations:
    """Gives each configuration a key, which is the same in every process and every run.

    Args:
        tracking: whether to remember the configuration of each `config_id`, and refuse it for another one. If False,
            nothing is kept or compared.
    """

    __slots__ = ("_by_id", "tracking")

    def __init__(self, tracking: bool = True) -> None:
        self.tracking = tracking
        self._by_id: dict[str, dict[str, Any]] = {}

    def key(self, configuration: dict[str, Any], config_id: Any = None) -> str:
        """Return the key. Raises `BadArgument` for a `config_id` that stood for another configuration, with both."""
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
        """Return the key of a configuration that contains its fidelity, and the fidelity. Raises `BadArgument`."""
        if fidel_key not in configuration:
            raise BadArgument(f"The configuration {configuration!r} lacks the fidelity {fidel_key!r}.")
        rest = {name: value for name, value in configuration.items() if name != fidel_key}
        return self.key(rest, config_id), check_fidelity(configuration[fidel_key])

    def asked(self, fields: dict[str, Any]) -> tuple[str, int] | None:
        """Return the key and the fidelity that a caller names, as in `Coordinator.call`; None without continuation."""
        if fields.get("eval_config") is not None:
            self.key(fields["eval_config"], fields["key"])
        if fields.get("fidelity") is None:
            return None
        return fields["key"], check_fidelity(fields["fidelity"])

    def state(self) -> dict[str, Any]:
        return {"tracking": self.tracking, "by_id": self._by_id}

    def restore(self, state: dict[str, Any]) -> None:
        self.tracking, self._by_id = state["tracking"], dict(state["by_id"])


def digest(configuration: dict[str, Any]) -> str:
    """Return a hash of the canonical JSON: sorted keys, exact floats. (`hash()` of text differs between processes.)

    Raises `NotJSON` for other objects, since their repr does not identify them; give a `config_id` then.
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
    """Raise `BadArgument` unless both are None or both are given, and `fidel_key` is one name."""
    if (continual_max_fidel is None) != (fidel_key is None):
        raise BadArgument(
            "Continuation needs both continual_max_fidel and fidel_key, the name of the fidelity; "
            f"got {continual_max_fidel!r} and {fidel_key!r}."
        )
    if fidel_key is not None and (not isinstance(fidel_key, str) or not fidel_key):
        raise BadArgument(f"fidel_key is {fidel_key!r}; continuation needs one fidelity: give its name.")


def check_fidelity(value: Any) -> int:
    """Return a fidelity that can be continued, as an int. Raises `BadArgument` (a `ValueError`) with the value."""
    if not is_whole(value):
        raise BadArgument(f"Fidelity for continual evaluation must be integer, but got fidel={value!r}.")
    fidelity = int(value)
    if fidelity < 0:
        raise BadArgument(f"Fidelity for continual evaluation must be non-negative, but got fidel={value!r}.")
    return int(fidelity)
