"""The optimisers of CARP-S, which ask for a `TrialInfo` and are told a `TrialValue`, and minimise.

By them come SMAC, HEBO, DEHB, Ax, Nevergrad, Optuna and others in one form.
"""

from __future__ import annotations

from typing import Any

from evalpool.errors import BadArgument, MissingExtra
from evalpool.search._minimizers import Minimizer

__all__ = ["CARPSOptimizer"]


class CARPSOptimizer(Minimizer):
    """Proposes what an optimiser of CARP-S proposes.

    A trial's budget is the fidelity, under the name that its task gives it. Costs are told as the negatives of the
    objectives; times are not told. The optimiser's own limits (`n_trials`, `time_budget`) do not count: what runs it
    has its own.

    Args:
        optimizer: a `carps.optimizers.optimizer.Optimizer` for a task, such as
            ``RandomSearchOptimizer(task)``; its solver is set up here, if it is not yet.

    Raises:
        BadArgument: `optimizer` is not such an object.
        MissingExtra: carps is not installed.
    """

    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer)
        if not hasattr(optimizer, "task") or not callable(getattr(optimizer, "setup_optimizer", None)):
            raise BadArgument(
                f"optimizer is {optimizer!r} of type {type(optimizer).__name__}; give one of carps.optimizers, made "
                "for a task."
            )
        try:
            from carps.utils.trials import TrialInfo, TrialValue
        except ImportError as error:
            raise MissingExtra(f"CARPSOptimizer needs carps ({error}): pip install carps.") from error
        self._info, self._value = TrialInfo, TrialValue
        space = optimizer.task.input_space.fidelity_space
        self._fidelity: str | None = space.fidelity_type if space.is_multifidelity else None
        if optimizer.solver is None:  # as its own `run` does
            optimizer.setup_optimizer()

    def _propose(self) -> Any:
        return self.optimizer.ask()

    def _configuration(self, proposal: Any) -> dict[str, Any]:
        configuration = dict(proposal.config)
        if self._fidelity is not None and proposal.budget is not None:
            configuration[self._fidelity] = proposal.budget
        return configuration

    def _tell(self, proposal: Any, losses: list[float]) -> None:
        cost = losses[0] if len(losses) == 1 else losses
        self.optimizer.tell(trial_info=proposal, trial_value=self._value(cost=cost))

    def _not_asked(self, configuration: dict[str, Any]) -> Any:
        from ConfigSpace import Configuration

        values = dict(configuration)
        budget = None if self._fidelity is None else values.pop(self._fidelity)
        space = self.optimizer.task.objective_function.configspace
        return self._info(config=Configuration(space, values=values), budget=budget)
