"""Search spaces of other packages as evalpool's plain dicts, which every search reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from evalpool.errors import BadArgument

__all__ = ["check_names", "space_of_configspace", "space_of_distributions"]


def check_names(source: str, parameters: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise `BadArgument` unless a configuration has exactly the parameters of a benchmark: a fidelity that it does not
    have would be paid in full and nobody would see it.
    """
    lacks = [name for name in known if name not in parameters]
    more = [name for name in parameters if name not in known]
    if lacks or more:
        what = f"lacks {', '.join(map(repr, lacks))}" if lacks else f"has {', '.join(map(repr, more))}"
        raise BadArgument(
            f"The configuration {dict(parameters)!r} {what}; {source} has the parameters {', '.join(map(repr, known))}."
        )


def space_of_configspace(space: Any) -> Any:
    """Return a `ConfigSpace.ConfigurationSpace` as a dict; unchanged if it has conditions or forbidden combinations.

    Only bounds and choices are kept: priors and weights are not part of a problem.
    """
    if _any(space, "conditions", "get_conditions") or _any(space, "forbidden_clauses", "get_forbiddens"):
        return space
    return {name: _of_hyperparameter(one) for name, one in dict(space).items()}


def _any(space: Any, name: str, older: str) -> bool:
    found = getattr(space, name, None)
    return len(getattr(space, older)() if found is None else found) > 0


def _of_hyperparameter(one: Any) -> Any:
    for values in ("choices", "sequence"):
        if hasattr(one, values):
            return list(getattr(one, values))
    if not hasattr(one, "lower"):
        return [one.value]  # a constant
    kind = int if "Integer" in type(one).__name__ else float
    bounds = (kind(one.lower), kind(one.upper))
    return (*bounds, "log") if one.log else bounds


def space_of_distributions(distributions: dict[str, Any]) -> dict[str, Any]:
    """Return Optuna's distributions as a dict.

    Raises:
        BadArgument: one has a step, which evalpool's ranges do not have.
    """
    space: dict[str, Any] = {}
    for name, one in distributions.items():
        if hasattr(one, "choices"):
            space[name] = list(one.choices)
        elif one.step in (None, 1):
            space[name] = (one.low, one.high, "log") if one.log else (one.low, one.high)
        elif isinstance(one.low, int):
            space[name] = list(range(one.low, one.high + 1, one.step))
        else:
            raise BadArgument(f"{name!r} is {one!r}, with a step, which a range of floats does not have here.")
    return space
