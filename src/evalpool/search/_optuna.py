"""Any sampler of Optuna as an optimiser that asks and tells, and any pruner of Optuna as a stopper.

::

    ask() -> trial -> configuration -> job --record(budget, objective)--> trial.report
                                       job <--stopped()------------------ trial.should_prune
    tell(job) -> trial COMPLETE, PRUNED or FAIL

The run-function records and asks whether it is stopped, as for every stopper; it does not use Optuna and runs on any
backend, also in simulated time. The trial stays in the evaluator's process.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from evalpool._checks import check_number, is_number
from evalpool._log import get_logger
from evalpool.errors import BadArgument, MissingExtra
from evalpool.search._proposals import Proposals
from evalpool.search._random_search import Choice, Drawn, Range, read_space
from evalpool.search._spaces import space_of
from evalpool.search._stoppers import Stopper

if TYPE_CHECKING:
    import optuna

    from evalpool.jobs._job import Job

__all__ = ["OptunaOptimizer"]

logger = get_logger()


class OptunaOptimizer:
    """Proposes what an Optuna sampler suggests; single and multi-objective, always maximising.

    A failed or cancelled job is told as a failed trial. A job that was not asked for (restored after a crash,
    or of another client) joins the study as a new trial, if its configuration lies in `space`.

    Args:
        study_or_sampler: a sampler, for a new study in memory; a study whose directions are ``"maximize"``,
            which may hold trials already; or None for Optuna's default sampler.
        space: as that of `RandomSearch`, without functions; or Optuna distributions by name; or a benchmark.
        num_objectives: the number of objectives of a new study; ignored for a study that is given.

    Raises:
        MissingExtra: Optuna is not installed.
        BadArgument: an argument has a wrong type or value, or the study minimises.
    """

    def __init__(
        self,
        study_or_sampler: optuna.Study | optuna.samplers.BaseSampler | None,
        space: Any,
        *,
        num_objectives: int = 1,
    ) -> None:
        try:
            import optuna
        except ImportError as error:
            raise MissingExtra.of("OptunaOptimizer needs Optuna", "optuna") from error
        num_objectives = check_number("num_objectives", num_objectives, 1)
        self._optuna = optuna
        self._distributions: dict[str, Any] = {}
        self._choices: dict[str, list[Any]] = {}  # name -> choices that Optuna cannot hold itself
        for name, value in _read(space, optuna.distributions.BaseDistribution).items():
            self._distributions[name] = self._distribution(name, value)
        self._study = self._open(study_or_sampler, num_objectives)
        self._proposals: Proposals[Any] = Proposals()  # trials that were not told and whose jobs recorded nothing
        self._watched: dict[int, TrialStopper] = {}  # job number -> the stopper of a job that recorded
        self._lock = threading.Lock()

    @property
    def study(self) -> optuna.Study:
        """The study, with a trial for each configuration that was asked for."""
        study: optuna.Study = self._study
        return study

    @property
    def stopper(self) -> Stopper:
        """The study's pruner, for ``stopper=`` of the evaluator: what jobs record is reported to their trials.

        A job that ends on the pruner's advice is told as PRUNED. Budgets are Optuna's steps: rounded down, and each
        step is reported once. A job that was not asked for here is not pruned.

        Raises:
            BadArgument: the study has several objectives, which Optuna cannot prune.
        """
        if len(self._study.directions) != 1:
            raise BadArgument(
                f"The Optuna study has {len(self._study.directions)} objectives, and Optuna prunes with one only; "
                "give the evaluator no stopper, or one of evalpool's."
            )
        return TrialStopper(self)

    def ask(self) -> dict[str, Any]:
        """Return the configuration of a new trial."""
        trial = self._study.ask(fixed_distributions=self._distributions)
        configuration = {
            name: self._choices[name][int(value)] if name in self._choices else value
            for name, value in trial.params.items()
        }
        self._proposals.put(configuration, trial)
        return configuration

    def tell(self, job: Job[Any]) -> None:
        """Tell the outcome of a job to its trial.

        Raises:
            BadArgument: the job has another number of objectives than the study.
        """
        values = self._values(job)
        watched = self._pop_watched(job.number, job.args)
        trial = self._proposals.take(job.args) if watched is None else watched.trial
        if trial is None:
            self._add(job, values, {} if watched is None else watched.reported)
        elif values is not None and watched is not None and watched.obeyed:
            self._study.tell(trial, state=self._optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(trial, values, state=None if values is not None else self._failed)

    def _pop_watched(self, number: int, configuration: dict[str, Any]) -> TrialStopper | None:
        with self._lock:
            watched = self._watched.get(number)
            # A number belongs to one search; a job of an earlier search that was cancelled and never told may have it.
            if watched is None or watched.configuration != configuration:
                return None
            return self._watched.pop(number)

    def _watch(self, number: int, configuration: dict[str, Any]) -> TrialStopper:
        """The stopper of a job; called from the evaluator's threads. A job that is run again keeps its trial."""
        watched = self._pop_watched(number, configuration)
        if watched is None:
            watched = TrialStopper(self, self._proposals.take(configuration), configuration)
        else:
            watched.begin()
        with self._lock:
            self._watched[number] = watched
        return watched

    def _values(self, job: Job[Any]) -> list[float] | None:
        """The values that Optuna is told; None for a failure."""
        if job.kind is not None:
            return None
        objective = job.objective
        values = list(objective) if isinstance(objective, tuple) else [objective]
        wanted = len(self._study.directions)
        if len(values) != wanted:
            raise BadArgument(
                f"Job {job.id} has {len(values)} objectives ({objective!r}) and the Optuna study {wanted}; "
                f"make the optimizer with num_objectives={len(values)}."
            )
        return values

    def _add(self, job: Job[Any], values: list[float] | None, reported: dict[int, float]) -> None:
        """Add a trial for a job that was not asked for here."""
        trial_state = self._optuna.trial.TrialState
        if values is None:
            state = self._failed
        else:
            state = trial_state.PRUNED if job.stopped_early else trial_state.COMPLETE
        try:
            params = {
                name: self._choices[name].index(job.args[name]) if name in self._choices else job.args[name]
                for name in self._distributions
            }
            trial = self._optuna.trial.create_trial(
                params=params,
                distributions=self._distributions,
                values=values,
                intermediate_values=reported,
                state=state,
            )
        except (KeyError, ValueError) as error:
            logger.warning("Job %s is not told to Optuna: its configuration is not in the space (%s).", job.id, error)
            return
        self._study.add_trial(trial)

    @property
    def _failed(self) -> Any:
        return self._optuna.trial.TrialState.FAIL

    def _open(self, study_or_sampler: Any, num_objectives: int) -> Any:
        optuna = self._optuna
        if isinstance(study_or_sampler, optuna.Study):
            wrong = [d.name for d in study_or_sampler.directions if d is not optuna.study.StudyDirection.MAXIMIZE]
            if wrong:
                raise BadArgument(
                    f"The Optuna study {study_or_sampler.study_name!r} has the direction {wrong[0]}; "
                    "objectives are maximised: create_study(direction='maximize'), and return the negative of a loss."
                )
            return study_or_sampler
        if study_or_sampler is not None and not isinstance(study_or_sampler, optuna.samplers.BaseSampler):
            raise BadArgument(
                f"study_or_sampler is {study_or_sampler!r} of type {type(study_or_sampler).__name__}; give "
                "an Optuna study, a sampler such as optuna.samplers.TPESampler(seed=0), or None."
            )
        return optuna.create_study(sampler=study_or_sampler, directions=["maximize"] * num_objectives)

    def _distribution(self, name: str, value: Any) -> Any:
        distributions = self._optuna.distributions
        if isinstance(value, distributions.BaseDistribution):
            return value
        if isinstance(value, Range):
            kind = distributions.IntDistribution if value.whole else distributions.FloatDistribution
            return kind(value.low, value.high, log=value.log)
        if isinstance(value, Drawn):
            raise BadArgument(
                f"space[{name!r}] is a function; Optuna needs a range or choices: (low, high) or a list of values."
            )
        if all(item is None or isinstance(item, (bool, int, float, str)) for item in value.values):
            return distributions.CategoricalDistribution(value.values)
        # If choices are lists or dicts, Optuna gets their positions, because it stores scalars only.
        self._choices[name] = value.values
        return distributions.CategoricalDistribution(range(len(value.values)))


class TrialStopper(Stopper):
    """Reports what one job records to its trial, and asks the study's pruner; without a trial it only keeps records.

    One call at a time, as for every stopper.
    """

    def __init__(
        self, optimizer: OptunaOptimizer, trial: Any = None, configuration: dict[str, Any] | None = None
    ) -> None:
        self._optimizer = optimizer
        self.trial = trial
        self.configuration = configuration
        self.reported: dict[int, float] = {}
        """Step -> value."""
        self.begin()

    def begin(self) -> None:
        """Begin another attempt at the job: nothing is decided. Steps that were reported stay reported."""
        self.objective = None
        self._stopped = self._went_on = False

    def for_job(self, number: int, configuration: dict[str, Any]) -> TrialStopper:
        """The stopper of one job."""
        return self._optimizer._watch(number, configuration)

    def observe(self, budget: float, objective: Any) -> None:
        self.objective = objective
        self._went_on = self._stopped
        if self._stopped or not is_number(budget) or not is_number(objective) or budget < 0:
            return
        step, value = int(budget), float(objective)
        if step in self.reported:
            return  # Optuna keeps the first, with a warning
        self.reported[step] = value
        if self.trial is not None:
            self.trial.report(value, step)
            self._stopped = bool(self.trial.should_prune())

    def stop(self) -> bool:
        return self._stopped

    @property
    def obeyed(self) -> bool:
        """Whether the job was advised to end, and recorded nothing after that."""
        return self._stopped and not self._went_on


def _read(space: Any, distribution: type[Any]) -> dict[str, Any]:
    """The dimensions by name; Optuna's own distributions are not changed."""
    space = space_of(space)
    if not isinstance(space, dict):
        return dict(read_space(space))  # says what is wrong
    own: dict[str, Range | Choice | Drawn] = {}
    ours = {name: value for name, value in space.items() if not isinstance(value, distribution)}
    if ours or not space:
        own = read_space(ours)
    return {name: own.get(name, value) for name, value in space.items()}
