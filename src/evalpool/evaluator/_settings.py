"""Checks the arguments of an evaluator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

from evalpool._checks import check_number, is_whole
from evalpool._json import jsonable
from evalpool._text import LONGEST_LINE, described, shown
from evalpool.batch._cpus import usable_cpus
from evalpool.errors import BadArgument, NotShareable
from evalpool.jobs._options import Submission
from evalpool.outcomes import FailureKind, JobStatus, Outcome
from evalpool.worker._running_job import RunningJob, introduce

if TYPE_CHECKING:
    from evalpool.jobs._job import Job
    from evalpool.jobs._options import JobOptions

__all__ = [
    "check_callbacks",
    "check_configuration",
    "check_configurations",
    "check_keywords",
    "check_kwargs",
    "check_retries",
    "check_run_function",
    "check_stopper",
    "check_workers",
    "stopper_for",
    "unpicklable_task",
    "unreachable",
    "with_stopped_early",
]


def check_run_function(function: Any) -> Callable[..., Any]:
    if not callable(function):
        raise BadArgument(
            f"run_function is {function!r} of type {type(function).__name__}, which cannot be called; "
            "give a function f(job, **kwargs)."
        )
    checked: Callable[..., Any] = function
    return checked


def check_workers(value: Any, name: str = "num_workers") -> int:
    if not is_whole(value):
        raise BadArgument(
            f"{name} is {value!r} of type {type(value).__name__}; give a whole number, or -1 for all CPUs."
        )
    if value == -1:
        return usable_cpus()
    if value < 1:
        raise BadArgument(f"{name} is {value}; give 1 or more, or -1 for all CPUs.")
    return int(value)


def check_callbacks(value: Any) -> list[Any]:
    from evalpool.callbacks._base import HOOKS, Callback

    if value is None:
        return []
    if isinstance(value, (Callback, str)) or not isinstance(value, Iterable):
        raise BadArgument(f"callbacks is {value!r}; give a list of callbacks: callbacks=[LoggerCallback()].")
    callbacks = list(value)
    for callback in callbacks:
        if isinstance(callback, type):
            raise BadArgument(f"callbacks has the class {callback.__name__}; give an object: {callback.__name__}().")
        if not any(callable(getattr(callback, name, None)) for name in HOOKS):
            raise BadArgument(
                f"callbacks has {callback!r} of type {type(callback).__name__}, without any hook; each has some of "
                f"{', '.join(HOOKS)}."
            )
    return callbacks


def check_kwargs(value: Any, name: str = "run_function_kwargs") -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadArgument(f"{name} is {value!r} of type {type(value).__name__}; give a dict of keyword arguments.")
    for key in value:
        if not isinstance(key, str):
            raise BadArgument(f"{name} has the key {key!r}; keyword arguments have text names.")
    return dict(value)


def check_retries(value: Any) -> dict[FailureKind, int]:
    """Return, by kind of failure, after how many failures a job is still run again."""
    if is_whole(value):  # the common case needs no pydantic, whose import takes longer than all of ours
        count = check_number("retries", value, 0)
        return {FailureKind.WORKER_DIED: count, FailureKind.RAISED: count}
    from evalpool.models import Retries

    if isinstance(value, dict):
        try:
            value = Retries(**value)
        except ValueError as error:
            raise BadArgument(f"retries is {value!r}: {error}") from error
    if not isinstance(value, Retries):
        raise BadArgument(
            f"retries is {value!r}; give a whole number of at least 0, or Retries(worker_died=2, raised=1)."
        )
    return value.allowed()


def check_stopper(value: Any) -> Any:
    if value is None:
        return None
    missing = [name for name in ("observe", "stop") if not callable(getattr(value, name, None))]
    if missing or isinstance(value, type):
        raise BadArgument(
            f"stopper is {value!r}; give an object with observe(budget, objective), stop() and objective."
        )
    return value


def stopper_for(prototype: Any, job: Job[Any], storage: Any) -> Any:
    """Return the stopper for one job: made by the prototype if its stoppers share something, else a copy of it."""
    if callable(getattr(prototype, "for_job", None)):
        return prototype.for_job(job.number, job.args)
    import copy

    own = copy.deepcopy(prototype)
    introduce(own, RunningJob(job.id, job.args, storage))
    return own


def with_stopped_early(job: Job[Any], outcome: Outcome) -> Outcome:
    """Set `stopped_early` for a job that ended by itself: whether it ended early because a stopper advised it."""
    if outcome.status is not JobStatus.DONE or outcome.kind is not None:
        return outcome
    stopper = job._stopper
    early = bool(outcome.stopped_early) and stopper is not None and not is_complete(stopper)
    return outcome._replace(stopped_early=early)


def is_complete(stopper: Any) -> bool:
    """Whether the job reached its last step. Stoppers of deephyper say so by `step` and `max_steps`."""
    complete = getattr(stopper, "is_complete", None)
    if complete is not None:
        return bool(complete)
    step, last = getattr(stopper, "step", None), getattr(stopper, "max_steps", None)
    return step is not None and last is not None and bool(step >= last)


def check_keywords(cls: type, kwargs: dict[str, Any]) -> None:
    """Raise `BadArgument` for keywords that no constructor of the class or its bases takes; it lists the known ones."""
    known: dict[str, None] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        taken, takes_any = _keywords_of(vars(base)["__init__"])
        known.update(dict.fromkeys(taken))
        if not takes_any:
            break
    else:
        engine: Any = getattr(cls, "backend_class", None)
        if engine is not None and engine.__init__ is not object.__init__:
            known.update(dict.fromkeys(_keywords_of(engine)[0]))
    names = [name for name in known if name not in ("self", "run_function")]
    unknown = [key for key in kwargs if key not in names]
    if unknown:
        raise BadArgument(f"{cls.__name__} has no argument {', '.join(map(repr, unknown))}; it has {', '.join(names)}.")


def _keywords_of(function: Any) -> tuple[Sequence[str], bool]:
    """Return the names of the keywords that a function or class takes, and whether it takes any other keyword."""
    plain = vars(function).get("__init__", function) if isinstance(function, type) else function
    if type(plain) is FunctionType and not hasattr(function, "__signature__") and not hasattr(plain, "__wrapped__"):
        code = plain.__code__  # without `inspect`, for whose import the first result would wait
        names = code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
        return names, bool(code.co_flags & _TAKES_ANY)
    import inspect

    parameters = inspect.signature(function).parameters.values()
    names = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return names, any(p.kind is p.VAR_KEYWORD for p in parameters)


_TAKES_ANY = 0x08
"""`inspect.CO_VARKEYWORDS`."""


def unreachable(storage: Any, evaluator: str, needed: Any) -> NotShareable:
    """The error for a storage that the workers of an evaluator cannot reach."""
    better = {
        "PROCESSES": "SharedMemoryStorage() or SQLiteStorage(path)",
        "CLUSTER": "JournalStorage(directory) on a shared file system, RedisStorage(host), or RayStorage()",
    }.get(needed.name, "JournalStorage(directory) or RedisStorage(host)")
    where = {"PROCESSES": "processes", "CLUSTER": "all over a cluster"}.get(needed.name, "on several hosts")
    if storage.ranks_only:
        return NotShareable(
            f"Only the ranks of its communicator can reach a {type(storage).__name__}, and the workers of "
            f"{evaluator} are other processes. Use JournalStorage(directory), SQLiteStorage(path) on one host, or "
            "RedisStorage(host); or give no storage if the run-function does not use it."
        )
    own = type(storage).__name__ == "OwnStorage"
    name = "The storage of an evaluator that was given none" if own else type(storage).__name__
    return NotShareable(
        f"{name} is shared between {storage.shared.name.lower()} only, and the workers of "
        f"{evaluator} are {where}: each would see an empty copy. Use {better}; or give no storage if "
        "the run-function does not use it."
    )


def unpicklable_task(run_function: Any, error: Exception) -> str:
    """Return the message that says why no job of this evaluator can run."""
    return (
        f"The run-function {shown(run_function, LONGEST_LINE)} or its run_function_kwargs cannot be pickled for the "
        f"workers: {described(error)}. Create what cannot be pickled (locks, connections, open files) inside the "
        "run-function."
    )


IMMUTABLE = frozenset({int, float, str, bool, type(None), bytes, complex})
are_immutable, is_text = IMMUTABLE.issuperset, frozenset({str}).issuperset


def check_configurations(
    values: Iterable[Any], to_json: bool = False, options: dict[int, JobOptions] | None = None
) -> list[dict[str, Any]]:
    """As `check_configuration`, for each of these values."""
    return [
        value.copy()  # the commonest, of which there are some hundred thousand a second
        if type(value) is dict and is_text(map(type, value)) and are_immutable(map(type, value.values()))
        else _check_unusual(value, to_json, options)
        for value in values
    ]


def check_configuration(
    value: Any, to_json: bool = False, options: dict[int, JobOptions] | None = None
) -> dict[str, Any]:
    """Return a copy of a configuration that shares no container with `value`.

    For a `Submission`, which is refused if `options` is None, this copies its configuration and puts its options into
    `options`, under the `id` of the copy. So plain dicts have no cost for options.

    Lists, dicts and sets are copied deeply. Other objects, such as arrays, are not copied: copying a 10 MB array for
    each job costs more than the dispatch of a thousand jobs.

    Raises `BadArgument`; or, for a value that cannot be copied, `NotJSON`, if it is to become JSON (`to_json`) and
    cannot.
    """
    return check_configurations((value,), to_json, options)[0]


def _check_unusual(value: Any, to_json: bool, options: dict[int, JobOptions] | None) -> dict[str, Any]:
    """As `check_configuration`, for a value that is not a plain dict of immutable values."""
    if type(value) is not dict and not isinstance(value, dict):
        if options is not None and isinstance(value, Submission):
            copied = check_configuration(value.configuration, to_json)
            options[id(copied)] = value.options
            return copied
        raise BadArgument(
            f"A configuration is {value!r} of type {type(value).__name__}; give a dict: submit([{{'x': 1}}])."
        )
    copied = dict(value)
    for key, item in value.items():
        if type(key) is not str and not isinstance(key, str):
            raise BadArgument(f"A configuration has the key {key!r} of type {type(key).__name__}; keys are text.")
        if type(item) not in IMMUTABLE:
            try:
                if isinstance(item, (list, dict, set, bytearray)):  # a proxy's `__class__` may raise
                    import copy

                    copied[key] = copy.deepcopy(item)
            except Exception as error:  # raised by a value's own methods, or because it is nested too deeply
                if to_json:
                    jsonable(item, key)
                raise BadArgument(
                    f"The configuration's {key!r} cannot be copied ({described(error)}); give plain "
                    "values, or pass objects by run_function_kwargs."
                ) from error
    return copied
