"""Options of a job besides its configuration: `Submission`, as users write them, and `JobOptions`, as they are kept.

::

    Submission({"x": 1}, priority=2, tags=["a"])  --submit-->  job.options, record.options: JobOptions(2, None, ("a",))

A job that was submitted as a plain dict has `NO_OPTIONS`, one object for all of them.

Both are what frozen dataclasses are. They are written out, since every evaluator needs this module, and to import
`dataclasses` takes a twentieth of the time until the first result on processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from evalpool._checks import as_float, is_real, is_whole
from evalpool._text import shown
from evalpool.errors import BadArgument

if TYPE_CHECKING:  # type checkers then refuse to set a field
    from dataclasses import dataclass
else:

    def dataclass(**settings):
        return lambda made: made


__all__ = ["NO_OPTIONS", "OPTIONS", "JobOptions", "Submission", "submission"]

OPTIONS = ("priority", "job_timeout", "tags")
"""The names of the options, in the order in which they are shown."""

LARGEST_PRIORITY = 2**53
"""The largest whole number that every store, and JSON in every program, keeps exactly."""

LONGEST_TIMEOUT = 1e15
"""The longest time limit in seconds, thirty million years; a longer one means no limit."""


class _Frozen:
    """Values that are set once, by `_set`; compared, shown and pickled by them."""

    __slots__ = ()
    __match_args__: tuple[str, ...]

    def _set(self, *values: Any) -> None:
        for name, value in zip(self.__match_args__, values, strict=True):
            object.__setattr__(self, name, value)

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__match_args__)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name!r}; make a new one.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot delete {name!r}.")

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        fields = zip(self.__match_args__, self._values(), strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._values()


@dataclass(frozen=True)
class JobOptions(_Frozen):
    """The options of a job; immutable.

    Attributes:
        priority: of jobs that wait, those of the highest priority start first.
        job_timeout: seconds that this job may run; 0.0 for no limit; None for the limit of its evaluator.
        tags: the user's own marks, in their order, each once.
    """

    __slots__ = __match_args__ = ("priority", "job_timeout", "tags")

    priority: int
    job_timeout: float | None
    tags: tuple[str, ...]

    def __init__(self, priority: int = 0, job_timeout: float | None = None, tags: tuple[str, ...] = ()) -> None:
        self._set(priority, job_timeout, tags)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Tell pydantic, which makes records of it, that it is a dataclass with these fields."""
        from pydantic_core import core_schema

        fields = [
            core_schema.dataclass_field(
                name, core_schema.with_default_schema(handler.generate_schema(kind), default=getattr(NO_OPTIONS, name))
            )
            for name, kind in zip(OPTIONS, (int, float | None, tuple[str, ...]), strict=True)
        ]
        arguments = core_schema.dataclass_args_schema(cls.__name__, fields)
        # Written out, because pydantic writes only what `dataclasses` made.
        written = core_schema.plain_serializer_function_ser_schema(
            lambda options: dict(zip(OPTIONS, options._values(), strict=True))
        )
        return core_schema.dataclass_schema(
            cls, arguments, list(OPTIONS), frozen=True, slots=True, serialization=written
        )

    @classmethod
    def of(cls, chosen: Mapping[str, Any] | None) -> JobOptions:
        """The options of a record, made by `chosen` and checked before; options of a later version are ignored."""
        if not chosen:
            return NO_OPTIONS
        known = {name: chosen[name] for name in OPTIONS if chosen.get(name) is not None}
        return cls(**{**known, "tags": tuple(known.get("tags", ()))})

    def chosen(self) -> dict[str, Any]:
        """The options that are not the default, as JSON; empty for `NO_OPTIONS`."""
        found: dict[str, Any] = {}
        if self.priority:
            found["priority"] = self.priority
        if self.job_timeout is not None:
            found["job_timeout"] = self.job_timeout
        if self.tags:
            found["tags"] = list(self.tags)
        return found

    def is_tagged(self, tags: Iterable[str]) -> bool:
        """Whether the job has all of these tags; True if `tags` is empty."""
        return all(tag in self.tags for tag in tags)

    def limit(self, default: float | None) -> float | None:
        """The seconds that this job may run if its evaluator's limit is `default`; None for no limit."""
        return default if self.job_timeout is None else self.job_timeout or None


NO_OPTIONS = JobOptions()


@dataclass(frozen=True)
class Submission(_Frozen):
    """A configuration with options of its job; `Evaluator.submit` takes it instead of a dict. Immutable.

    It may also be an item of `Evaluator.as_completed`, or be returned by an optimiser's `ask`.

    >>> from evalpool import Evaluator, Submission
    >>> with Evaluator.create(lambda job: job["x"]) as evaluator:
    ...     jobs = evaluator.submit([{"x": 1}, Submission({"x": 2}, job_timeout=60, tags=["check"])])
    ...     [(job.objective, job.options.tags) for job in evaluator.gather()]
    [(1, ()), (2, ('check',))]

    Args:
        configuration: a dict with text keys; it is copied when it is submitted.
        priority: of jobs that wait, those of the highest priority start first; of equals, those that are run again,
            then the others in the order of submission. A job that a worker has prefetched stays there. It may be
            negative.
        job_timeout: seconds that this job may run, instead of the evaluator's `job_timeout`; 0 for no limit; None
            for the evaluator's.
        tags: a list of texts by which you find the job again: they are kept with its record and shown, and views can
            select by them.

    Raises:
        BadArgument: an argument has a wrong type or value.
    """

    __slots__ = __match_args__ = ("configuration", "priority", "job_timeout", "tags")

    configuration: dict[str, Any]
    priority: int
    job_timeout: float | None
    tags: Sequence[str]

    def __init__(
        self,
        configuration: dict[str, Any],
        priority: int = 0,
        job_timeout: float | None = None,
        tags: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(configuration, dict):
            raise BadArgument(
                f"A submission's configuration is {shown(configuration)} of type "
                f"{type(configuration).__name__}; give a dict: Submission({{'x': 1}}, priority=1)."
            )
        self._set(configuration, *_checked(priority, job_timeout, tags))

    @property
    def options(self) -> JobOptions:
        """The options of the job that is made from it."""
        options = JobOptions(self.priority, self.job_timeout, tuple(self.tags))
        return NO_OPTIONS if options == NO_OPTIONS else options


def submission(configuration: dict[str, Any], options: JobOptions) -> Submission | dict[str, Any]:
    """What to submit for a configuration with these options: the configuration itself if there are none."""
    if options is NO_OPTIONS:
        return configuration
    return Submission(configuration, options.priority, options.job_timeout, options.tags)


def _checked(priority: Any, timeout: Any, tags: Any) -> tuple[int, float | None, tuple[str, ...]]:
    if not is_whole(priority) or abs(priority) > LARGEST_PRIORITY:
        raise BadArgument(
            f"priority is {shown(priority)} of type {type(priority).__name__}; give a whole number, such as 1 to go "
            "before the jobs of priority 0."
        )
    if timeout is not None:
        seconds = as_float(timeout) if is_real(timeout) else math.nan
        if math.isnan(seconds) or seconds < 0:
            raise BadArgument(
                f"job_timeout is {shown(timeout)}; give seconds above 0, 0 for no limit, or None for the evaluator's."
            )
        timeout = 0.0 if seconds > LONGEST_TIMEOUT else abs(seconds)  # -0.0 is 0
    if tags is None:
        tags = ()
    if not isinstance(tags, (list, tuple)):
        raise BadArgument(f"tags is {shown(tags)} of type {type(tags).__name__}; give a list of texts: tags=['warm'].")
    for tag in tags:
        if not isinstance(tag, str) or not tag:
            raise BadArgument(
                f"tags has {shown(tag)} of type {type(tag).__name__}; each tag is a text that is not empty."
            )
    return int(priority), timeout, tuple(dict.fromkeys(map(str, tags)))
