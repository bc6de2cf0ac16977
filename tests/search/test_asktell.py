"""What optimisers may return from `ask` and take in `tell`."""

from __future__ import annotations

from typing import Any

import pytest

from evalpool.backends import SerialEvaluator
from evalpool.errors import BadArgument
from evalpool.evaluator import Job, optimize
from evalpool.jobs import JobOptions, Submission
from evalpool.search._asktell import AskTell


def through(optimizer: Any, function: Any = None, evals: int = 1) -> list[Job[Any]]:
    with SerialEvaluator(function or (lambda job: {"objective": 1.5, "loss": -1.5})) as evaluator:
        return optimize(evaluator, optimizer, max_evals=evals)


def test_tell_with_configuration_and_objective() -> None:
    told = []

    class Two:
        def ask(self) -> dict[str, Any]:
            return {"x": 1}

        def tell(self, configuration: dict[str, Any], objective: Any, weight: float = 1.0) -> None:
            told.append((configuration, objective))

    through(Two())
    through(Two(), lambda job: "F_no")
    assert told == [({"x": 1}, 1.5), ({"x": 1}, "F_no")]


def test_an_objective_with_a_default_is_told() -> None:
    told = []

    class Optional:
        def ask(self) -> dict[str, Any]:
            return {"x": 1}

        def tell(self, configuration: dict[str, Any], objective: Any = None) -> None:
            told.append((configuration, objective))

    class Another(Optional):
        def tell(self, job: Any, weight: Any = None) -> None:  # type: ignore[override]
            told.append((job.args, weight))

    through(Optional())
    through(Another())
    assert told == [({"x": 1}, 1.5), ({"x": 1}, None)]


def test_tell_as_in_mfhpo_simulator() -> None:
    told = []
    seen = []

    class MultiFidelity:
        def ask(self) -> Any:
            return {"x": 1}, {"epochs": 3}, 7

        def tell(self, eval_config: Any, results: Any, *, fidels: Any, config_id: Any = None) -> None:
            told.append((eval_config, results, fidels, config_id))

    def function(job: Any) -> Any:
        seen.append(job.parameters)
        return {"objective": -2.0, "loss": 2.0, "runtime": 0.5}

    through(MultiFidelity(), function)
    assert seen == [{"x": 1, "epochs": 3}]
    assert told == [({"x": 1}, {"objective": -2.0, "loss": 2.0, "runtime": 0.5}, {"epochs": 3}, 7)]


def test_tell_with_results_gets_only_the_keywords_that_it_takes() -> None:
    told = []

    class NoId:
        def ask(self) -> Any:
            return {"x": 1}, {"epochs": 3}

        def tell(self, config: Any, results: Any, *, fidels: Any) -> None:
            told.append((config, fidels))

    class OnlyResults:
        def ask(self) -> Any:
            return {"x": 1}, None, None

        def tell(self, eval_config: Any, results: Any) -> None:
            told.append((eval_config, results["objective"]))

    class AnyKeyword:
        def ask(self) -> Any:
            return {"x": 1}, None, 5

        def tell(self, *, eval_config: Any, results: Any, **others: Any) -> None:
            told.append((eval_config, others))

    for optimizer in (NoId(), OnlyResults(), AnyKeyword()):
        through(optimizer)
    assert told == [
        ({"x": 1}, {"epochs": 3}),
        ({"x": 1}, 1.5),
        ({"x": 1}, {"fidels": None, "config_id": 5}),
    ]


def test_given_results_replace_those_of_the_job() -> None:
    told = []

    class OnlyResults:
        def ask(self) -> Any:
            return {"x": 1}

        def tell(self, eval_config: Any, results: Any) -> None:
            told.append(results)

    optimizer = OnlyResults()
    (job,) = through(optimizer)
    AskTell(optimizer).tell(job, results={"loss": 0.25})
    assert told[-1] == {"loss": 0.25}


def tell_variadic(*args: Any) -> None: ...
def tell_three(a: Any, b: Any, c: Any) -> None: ...
def tell_keyword(job: Any, *, extra: Any) -> None: ...
def tell_nothing() -> None: ...


@pytest.mark.parametrize(
    ("tell", "message"),
    [
        (tell_variadic, r"takes \*args"),
        (tell_three, "3 required parameters"),
        (tell_keyword, "requires the keyword 'extra'"),
        (tell_nothing, "0 required parameters"),
        (dict.update, "cannot be inspected|required"),
    ],
)
def test_a_tell_of_no_known_form_is_refused(tell: Any, message: str) -> None:
    class Odd:
        def ask(self) -> dict[str, Any]:
            return {}

    optimizer: Any = Odd()
    optimizer.tell = tell
    with pytest.raises(BadArgument, match=message):
        AskTell(optimizer)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([1, 2], "of type list"),
        (None, "returned None"),
        (({"x": 1},), "must return a dict"),
        (({"x": 1}, 3), "fidels 3"),
        (({"x": 1}, {"x": 2}), r"\['x'\] both as configuration and as fidelity"),
        (({"x": 1}, {}, 1, 2), "must return a dict"),
    ],
)
def test_an_answer_that_is_no_proposal_is_refused(answer: Any, message: str) -> None:
    class Odd:
        def ask(self) -> Any:
            return answer

        def tell(self, job: Any) -> None: ...

    with pytest.raises(BadArgument, match=message):
        AskTell(Odd()).ask()


def test_a_submission_stands_for_a_configuration() -> None:
    answers: list[Any] = [
        Submission({"x": 1}, priority=2),
        (Submission({"x": 1}, tags=["a"]), {"epochs": 3}),
        (Submission({"x": 1}, job_timeout=4), None, 7),
        {"x": 1},
    ]
    asktell = AskTell(OneForm(answers))
    asked = [asktell.ask() for _ in answers]
    assert [one.configuration for one in asked] == [{"x": 1}, {"x": 1, "epochs": 3}, {"x": 1}, {"x": 1}]
    assert [one.options for one in asked] == [
        JobOptions(priority=2), JobOptions(tags=("a",)), JobOptions(job_timeout=4.0), JobOptions()
    ]  # fmt: skip
    assert asked[2].config_id == 7


class OneForm:
    def __init__(self, answers: list[Any]) -> None:
        self._answers = iter(answers)

    def ask(self) -> Any:
        return next(self._answers)

    def tell(self, job: Any) -> None:
        """Nothing is learned."""
