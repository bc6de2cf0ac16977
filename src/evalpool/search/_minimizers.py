"""Optimisers of other packages that ask and tell in a form of their own, and minimise: scikit-optimize, nevergrad.

===================  ==========================================  ==============================
                     ``ask()`` returns                           ``tell`` takes
===================  ==========================================  ==============================
`SkoptOptimizer`     ``[0.01, 3, "a"]``, a value per dimension   the list, and a loss
`NevergradOptimizer` a candidate with `value`, `args`, `kwargs`  the candidate, and a loss
===================  ==========================================  ==============================

Nothing of either package is imported: any object with that interface works. A loss is the negative of an
objective. A failure has no loss, but must be told, or the optimiser would continue to propose what fails: the worst
loss so far is told for it, and failures before the first success are told after it.
"""

from __future__ import annotations

import abc
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evalpool._json import plain
from evalpool._log import get_logger
from evalpool.errors import BadArgument
from evalpool.search._proposals import Proposals

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["NevergradOptimizer", "SkoptOptimizer"]

logger = get_logger()


class Minimizer(abc.ABC):
    """The common base: it finds the proposal that a job came from, and tells its loss.

    A job that was not asked for (restored after a crash, or of another client) is told, too, if its configuration
    has the names that this optimiser proposes. Not for several threads at once.
    """

    def __init__(self, optimizer: Any) -> None:
        missing = [name for name in ("ask", "tell") if not callable(getattr(optimizer, name, None))]
        if missing or isinstance(optimizer, type):
            raise BadArgument(
                f"optimizer is {optimizer!r} of type {type(optimizer).__name__}; give an object with ask and tell."
            )
        self.optimizer = optimizer
        self._proposals: Proposals[Any] = Proposals()
        self._worst: list[float] | None = None  # loss per objective
        self._failed: list[Any] = []  # proposals that failed before any succeeded

    def ask(self) -> dict[str, Any]:
        """Return the configuration of a new proposal."""
        proposal = self._propose()
        configuration: dict[str, Any] = plain(self._configuration(proposal), lenient=True)
        self._proposals.put(configuration, proposal)
        return configuration

    def tell(self, job: Job[Any]) -> None:
        """Tell the loss of a job. What the optimiser raises passes through."""
        proposal = self._proposals.take(job.args)
        if proposal is not None:
            self._judge(job, proposal)
            return
        try:
            self._judge(job, self._not_asked(job.args))
        except (LookupError, ValueError, TypeError, NotImplementedError) as error:
            logger.warning("Job %s is not told to %s: %r.", job.id, type(self.optimizer).__name__, error)

    def _judge(self, job: Job[Any], proposal: Any) -> None:
        if job.kind is None:
            objective = job.objective
            losses = [-float(value) for value in (objective if isinstance(objective, tuple) else (objective,))]
            self._worst = losses if self._worst is None else list(map(max, self._worst, losses))
            self._tell(proposal, losses)
            while self._failed:
                self._tell(self._failed.pop(0), self._worst)
        elif self._worst is None:
            self._failed.append(proposal)
        else:
            self._tell(proposal, self._worst)

    def _tell(self, proposal: Any, losses: list[float]) -> None:
        self.optimizer.tell(proposal, losses[0] if len(losses) == 1 else losses)

    @abc.abstractmethod
    def _propose(self) -> Any:
        """What the optimiser's own `ask` returns."""

    @abc.abstractmethod
    def _configuration(self, proposal: Any) -> dict[str, Any]:
        """The configuration of a proposal."""

    @abc.abstractmethod
    def _not_asked(self, configuration: dict[str, Any]) -> Any:
        """A proposal for a configuration that was not asked for; raises if there can be none."""


class SkoptOptimizer(Minimizer):
    """Proposes what a `skopt.Optimizer` proposes, or any object with ``ask() -> list`` and ``tell(list, loss)``.

    If the optimiser proposes a point again that is being evaluated, it is asked for two points at once, for four, and
    so on, if its `ask` takes `n_points`, and the first new one is evaluated.

    Args:
        optimizer: an optimiser with one objective.
        names: of its dimensions, in order; None for ``optimizer.space.dimension_names``.

    Raises:
        BadArgument: `optimizer` is not such an object, or has no names for its dimensions.
    """

    def __init__(self, optimizer: Any, names: Sequence[str] | None = None) -> None:
        super().__init__(optimizer)
        if names is None:
            names = getattr(getattr(optimizer, "space", None), "dimension_names", None)
        if names is None or isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise BadArgument(f"names is {names!r}; give a list with a name per dimension, as the run-function uses.")
        self._names = list(names)
        try:
            self._several = "n_points" in inspect.signature(optimizer.ask).parameters
        except (TypeError, ValueError):  # of a compiled class
            self._several = False
        self._points = 2  # how many points are asked for at once

    def _propose(self) -> list[Any]:
        point: list[Any] = self.optimizer.ask()
        out = self._proposals.outstanding() if self._several else []
        while point in out:
            # scikit-optimize fits its model anew for each of the points: half a second each. So we ask for few first.
            # Until something is told, it has the points of the last call at hand.
            for other in self.optimizer.ask(n_points=self._points):
                if other not in out:
                    return list(other)
            if self._points > len(out):
                break
            self._points *= 2
        return point

    def _configuration(self, proposal: Any) -> dict[str, Any]:
        if not isinstance(proposal, (list, tuple)) or len(proposal) != len(self._names):
            raise BadArgument(
                f"{type(self.optimizer).__name__}.ask() returned {proposal!r}; it must return a list of "
                f"{len(self._names)} values, for {', '.join(self._names)}."
            )
        return dict(zip(self._names, proposal, strict=True))

    def _not_asked(self, configuration: dict[str, Any]) -> list[Any]:
        return [configuration[name] for name in self._names]

    def _tell(self, proposal: Any, losses: list[float]) -> None:
        if len(losses) > 1:
            raise BadArgument(f"The run-function returned {len(losses)} objectives; {type(self).__name__} takes one.")
        self._points = 2
        super()._tell(proposal, losses)


class NevergradOptimizer(Minimizer):
    """Proposes what an optimiser of nevergrad proposes, or any object with the same kind of candidates.

    The keyword arguments of a candidate are the configuration, and so are the values of a `Dict`; positional arguments
    need `names`. Arrays reach the run-function as lists. Several objectives are told as several losses.

    Args:
        optimizer: one of `nevergrad.optimizers`; make it with ``num_workers`` of the evaluator.
        names: of the positional arguments of its candidates, in order.

    Raises:
        BadArgument: `optimizer` is not such an object.
    """

    def __init__(self, optimizer: Any, names: Sequence[str] = ()) -> None:
        super().__init__(optimizer)
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise BadArgument(f"names is {names!r}; give a list with a name per positional argument.")
        self._names = tuple(names)

    def _propose(self) -> Any:
        return self.optimizer.ask()

    def _configuration(self, proposal: Any) -> dict[str, Any]:
        if not all(hasattr(proposal, name) for name in ("args", "kwargs", "value")):
            raise BadArgument(
                f"{type(self.optimizer).__name__}.ask() returned {proposal!r}; it must return a candidate with "
                "args, kwargs and value."
            )
        args, kwargs = proposal.args, proposal.kwargs
        if not self._names and len(args) == 1 and not kwargs and isinstance(args[0], dict):
            return args[0]
        if len(args) != len(self._names):
            raise BadArgument(
                f"{type(self.optimizer).__name__} proposes {len(args)} positional arguments {args!r} and names has "
                f"{len(self._names)}; give NevergradOptimizer(optimizer, names=[...]) one for each."
            )
        return {**dict(zip(self._names, args, strict=True)), **kwargs}

    def _not_asked(self, configuration: dict[str, Any]) -> Any:
        parametrization = self.optimizer.parametrization
        example = parametrization.value
        if isinstance(example, dict):
            value: Any = {name: configuration[name] for name in example}
        elif isinstance(example, tuple) and len(example) == 2 and isinstance(example[1], dict):
            value = (
                tuple(configuration[name] for name in self._names),
                {name: configuration[name] for name in example[1]},
            )
        else:
            value = configuration[self._names[0]]
        return parametrization.spawn_child(new_value=value)
