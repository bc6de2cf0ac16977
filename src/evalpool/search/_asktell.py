"""The adapter between optimisers that ask and tell and the loops that evaluate.

Optimisers differ in what `ask` returns and in what `tell` takes. Only this module handles the difference:

===================================================  ===========================================
``ask()`` returns                                    meaning
===================================================  ===========================================
``{...}``                                            a configuration
``({...}, fidels)``                                  with fidelities, a dict or None
``({...}, fidels, config_id)``                       and a number that identifies the configuration
``Submission({...})`` instead of ``{...}``           with options of its job
===================================================  ===========================================

===================================================  ===========================================
signature of ``tell``                                gets
===================================================  ===========================================
one required positional parameter                    the `Job`
two of them, or a second named ``objective``         the configuration and the objective
a parameter ``results``, ``fidels`` or               ``eval_config``, the results as a dict, and
``config_id``                                        ``fidels``, ``config_id`` if it takes them
===================================================  ===========================================

The last row is the interface of mfhpo-simulator. Fidelities are merged into the configuration that the
run-function sees, and are separate arguments of ``tell``. A failure is told as the job with its `kind`,
or as the text ``F_...`` instead of the objective.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from evalpool.errors import BadArgument
from evalpool.jobs._options import NO_OPTIONS, JobOptions, Submission

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["AskTell", "Asked", "tells_configuration"]

FORMS = "tell(job), tell(configuration, objective) or tell(eval_config, results, *, fidels, config_id)"


class Asked(NamedTuple):
    """What an optimiser proposed.

    Attributes:
        configuration: what the run-function sees: `eval_config` and `fidels` together.
        eval_config: the optimiser's own dict.
        fidels: fidelity name -> value, or None.
        config_id: the optimiser's number for `eval_config`, or None.
        options: the options of its job.
    """

    configuration: dict[str, Any]
    eval_config: dict[str, Any]
    fidels: dict[str, Any] | None = None
    config_id: int | None = None
    options: JobOptions = NO_OPTIONS


class AskTell:
    """Any optimiser with `ask` and `tell`, under one interface. Not for several threads at once.

    Attributes:
        tell_by_name: the optimiser's own `tell`, if it takes ``eval_config``, ``results``, ``fidels`` and ``config_id``
            by these names, so that a loop over a million results can call it directly; else None.
        tell_pair: the optimiser's own `tell`, if it takes a configuration and an objective, for the same reason; or the
            method that `tells_configuration` names.

    Raises:
        BadArgument: the optimiser lacks a method, or its `tell` is of no known form.
    """

    def __init__(self, optimizer: Any) -> None:
        for name in ("ask", "tell"):
            if not callable(getattr(optimizer, name, None)):
                raise BadArgument(
                    f"The optimizer {optimizer!r} of type {type(optimizer).__name__} has no method {name}; "
                    f"it needs ask() and one of {FORMS}."
                )
        if isinstance(optimizer, type):
            raise BadArgument(f"The optimizer is the class {optimizer.__name__}; give an object of it.")
        self.optimizer = optimizer
        self._tell, self.tell_by_name, self.tell_pair = _teller(optimizer)

    def ask(self) -> Asked:
        """Ask for one proposal. What the optimiser raises passes through.

        Raises:
            BadArgument: it returned something other than a configuration.
        """
        return self.read(self.optimizer.ask())

    def read(self, answer: Any) -> Asked:
        """Return the proposal that the optimiser's `ask` gave as `answer`, in any of its forms. Raises as `ask`."""
        if isinstance(answer, dict):
            return Asked(answer, answer)
        options = NO_OPTIONS
        if isinstance(answer, Submission):
            return Asked(answer.configuration, answer.configuration, options=answer.options)
        if isinstance(answer, tuple) and answer and isinstance(answer[0], Submission):
            options = answer[0].options
            answer = (answer[0].configuration, *answer[1:])
        if not isinstance(answer, tuple) or not 2 <= len(answer) <= 3 or not isinstance(answer[0], dict):
            raise BadArgument(
                f"{type(self.optimizer).__name__}.ask() returned {answer!r} of type {type(answer).__name__}; "
                "it must return a dict or a Submission, (dict, fidels) or (dict, fidels, config_id). "
                f"{_advice(answer)}"
            )
        eval_config, fidels, config_id = answer if len(answer) == 3 else (*answer, None)
        if fidels is None:
            return Asked(eval_config, eval_config, None, config_id, options)
        if not isinstance(fidels, dict):
            raise BadArgument(
                f"{type(self.optimizer).__name__}.ask() returned fidels {fidels!r} of type "
                f"{type(fidels).__name__}; it must be a dict such as {{'epochs': 10}}, or None."
            )
        twice = fidels.keys() & eval_config.keys()
        if twice:
            raise BadArgument(
                f"{type(self.optimizer).__name__}.ask() returned {sorted(twice)} both as configuration and "
                "as fidelity; each name belongs to one of them."
            )
        return Asked({**eval_config, **fidels}, eval_config, fidels, config_id, options)

    def tell(self, job: Job[Any], asked: Asked | None = None, results: dict[str, Any] | None = None) -> None:
        """Tell the outcome of a job. What the optimiser raises passes through.

        Args:
            job: a finished job.
            asked: what `ask` proposed; None for a job that another run or client proposed.
            results: for optimisers that take results as a dict; None for what the run-function returned.
        """
        if asked is None:
            configuration = dict(job.args)
            asked = Asked(configuration, configuration)
        self._tell(job, asked, results)


TELLS_CONFIGURATION = "_tells_configuration"
_Tell = TypeVar("_Tell", bound=Callable[..., None])


def tells_configuration(method: str) -> Callable[[_Tell], _Tell]:
    """Mark a ``tell(job)`` that reads ``job.args`` only, for loops over a million results, which then make no jobs.

    Args:
        method: the name of a method that does the same for a configuration, as the dict that `ask` returned, and an
            objective. A subclass that defines another `tell` is called by that one, because it is not marked.
    """

    def mark(tell: _Tell) -> _Tell:
        setattr(tell, TELLS_CONFIGURATION, method)
        return tell

    return mark


Teller = Callable[["Job[Any]", Asked, "dict[str, Any] | None"], None]


def _teller(optimizer: Any) -> tuple[Teller, Callable[..., Any] | None, Callable[..., Any] | None]:
    """Decide from the signature how `tell` is called; return that, `AskTell.tell_by_name` and `tell_pair`."""
    tell = optimizer.tell
    try:
        parameters = inspect.signature(tell).parameters
    except (TypeError, ValueError):
        raise _undecidable(optimizer, "cannot be inspected") from None
    positional, required_keywords, any_keyword = 0, [], False
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise _undecidable(optimizer, f"takes *{name}")
        if parameter.kind is parameter.VAR_KEYWORD:
            any_keyword = True
        elif parameter.default is parameter.empty:
            if parameter.kind is parameter.KEYWORD_ONLY:
                required_keywords.append(name)
            else:
                positional += 1
        elif name == "objective" and positional == 1 and parameter.kind is not parameter.KEYWORD_ONLY:
            positional += 1  # tell(configuration, objective=None)
    if parameters.keys() & {"results", "fidels", "config_id"}:
        return (*_results_teller(tell, parameters, any_keyword), None)
    if required_keywords:
        raise _undecidable(optimizer, f"requires the keyword {required_keywords[0]!r}")
    if positional == 1:
        pair = getattr(tell, TELLS_CONFIGURATION, None)
        return (
            (lambda job, asked, results: tell(job)),
            None,
            getattr(optimizer, pair) if isinstance(pair, str) else None,
        )
    if positional == 2:
        return (lambda job, asked, results: tell(asked.configuration, job.objective)), None, tell
    raise _undecidable(optimizer, f"has {positional} required parameters")


def _results_teller(tell: Any, parameters: Any, any_keyword: bool) -> tuple[Teller, Callable[..., Any] | None]:
    extra = [name for name in ("fidels", "config_id") if any_keyword or name in parameters]
    # By name if the names are the documented ones, because a subclass may have made them keyword-only.
    by_name = {"eval_config", "results"} <= parameters.keys() and not any(
        parameters[name].kind is inspect.Parameter.POSITIONAL_ONLY for name in ("eval_config", "results")
    )
    direct = tell if by_name and len(extra) == 2 else None

    def call(job: Job[Any], asked: Asked, results: dict[str, Any] | None) -> None:
        if results is None:
            results = dict(job.output) if isinstance(job.output, dict) else {"objective": job.objective}
        if direct is not None:
            direct(eval_config=asked.eval_config, results=results, fidels=asked.fidels, config_id=asked.config_id)
            return
        keywords = {name: getattr(asked, name) for name in extra}
        if by_name:
            tell(eval_config=asked.eval_config, results=results, **keywords)
        else:
            tell(asked.eval_config, results, **keywords)

    return call, direct


def _advice(answer: Any) -> str:
    """Which adapter to use for an optimiser with this answer."""
    if hasattr(answer, "kwargs") and hasattr(answer, "value"):
        return "For nevergrad use NevergradOptimizer(optimizer)."
    if isinstance(answer, list):
        return "For scikit-optimize use SkoptOptimizer(optimizer)."
    return "For Optuna use OptunaOptimizer(study, space); wrap another optimizer in a class whose ask() returns a dict."


def _undecidable(optimizer: Any, why: str) -> BadArgument:
    return BadArgument(
        f"{type(optimizer).__name__}.tell {why}, so it is not clear what to tell it; give it one of the "
        f"forms {FORMS}, or wrap the optimizer in a class with tell(job)."
    )
