"""Successive halving that promotes: by its algorithm written a second time, in simulated time, and across runs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool import RunningJob, SerialEvaluator, ThreadPoolEvaluator, optimize, simulate
from evalpool.benchmarks import Benchmark, RuntimeModel
from evalpool.errors import BadArgument
from evalpool.search import SuccessiveHalving
from evalpool.search._brackets import round_robin, shares

SPACE = {"x": (0.0, 1.0)}
RUNGS = [1, 3, 9]


def run(job: RunningJob) -> dict[str, Any]:
    """Loading takes two seconds, each epoch one."""
    return {"objective": job["x"] * job["epochs"], "runtime": 2.0 + job["epochs"], "metadata": {"seed": job.seed}}


def expected(told: list[tuple[int, int, float]], promoted: set[tuple[int, int]], count: int, brackets: int) -> Any:
    """Algorithm 2 of the paper, by sorting everything: the number and the rung that come next."""
    parts = shares(len(RUNGS), brackets, 3)
    for rung in (1, 0):
        for bracket in range(brackets):
            here = sorted(
                (-objective, n) for n, at, objective in told if at == rung and round_robin(n, parts) == bracket
            )
            best = [number for loss, number in here[: len(here) // 3] if loss < 1e9 and (number, rung) not in promoted]
            if best:
                promoted.add((best[0], rung))
                return best[0], rung + 1
    return count, round_robin(count, parts)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.25, 0.5, 1.0, None])), max_size=60), st.integers(1, 3)
)
def test_what_is_asked_follows_the_algorithm_in_whatever_order_results_come(steps: Any, brackets: int) -> None:
    search = SuccessiveHalving(SPACE, "epochs", 1, 9, brackets=brackets, seed=0)
    told: list[tuple[int, int, float]] = []
    promoted: set[tuple[int, int]] = set()
    running: list[Any] = []
    count = 0
    for pick, objective in steps:
        configuration, fidels, number = search.ask()
        assert (number, RUNGS.index(fidels["epochs"])) == expected(told, promoted, count, brackets)
        count = max(count, number + 1)
        running.append((configuration, fidels, number))
        if pick < len(running):
            configuration, fidels, number = running.pop(pick)
            search.tell(
                configuration,
                {"objective": "F_oom" if objective is None else objective},
                fidels=fidels,
                config_id=number,
            )
            told.append((number, RUNGS.index(fidels["epochs"]), -1e9 if objective is None else objective))


def test_a_promoted_configuration_continues_and_pays_for_what_is_new() -> None:
    def schedule(**more: Any) -> Any:
        search = SuccessiveHalving(SPACE, "epochs", 1, 9, brackets=2, seed=3)
        return simulate(
            search, run, num_workers=4, max_submits=60, fidel_key="epochs", continual_max_fidel=9, seed=0, **more
        )

    result = schedule()
    charged = {1: (None, 3.0), 3: (1, 2.0), 9: (3, 6.0)}
    begun: set[float] = set()
    for row, configuration in zip(result.trace, result.configurations, strict=True):
        if configuration["x"] in begun:
            assert (row["resumed_from"], row["charged"]) == charged[configuration["epochs"]]
        else:
            assert (row["resumed_from"], row["charged"]) == (None, 2.0 + configuration["epochs"])
            assert configuration["epochs"] in (1, 3)  # where the two brackets begin
        begun.add(configuration["x"])
    assert len(begun) < 60
    assert schedule(evaluator=ThreadPoolEvaluator).trace_digest() == result.trace_digest()


def test_a_later_run_goes_on_with_the_results_of_an_earlier_one() -> None:
    def fidelities(search: SuccessiveHalving) -> list[int]:
        with SerialEvaluator(run) as evaluator:
            return [job.args["epochs"] for job in optimize(evaluator, search, max_evals=12)]

    search, later = (SuccessiveHalving(SPACE, "epochs", 1, 9, seed=seed) for seed in (0, 1))
    told = [{"x": x / 10, "epochs": 1} for x in range(6)] + [{"x": 0.5, "epochs": 3}, {"x": 0.1, "epochs": 5}]
    for configuration in told:
        later.tell(configuration, {"objective": configuration["x"]})
    assert later.ask()[:2] == ({"x": 0.4}, {"epochs": 3})
    assert later.ask()[1:] == ({"epochs": 1}, 6)
    assert fidelities(search).count(1) > fidelities(search).count(3) > 0


def test_results_at_rungs_that_were_computed_differently_count() -> None:
    search = SuccessiveHalving(SPACE, "share", 0.1, 0.9, seed=0)  # the second rung is 0.1 * 3, which is not 0.3
    for x in range(3):
        search.tell({"x": x / 10, "share": 0.1}, {"objective": x})
        search.tell({"x": x / 10, "share": 0.3}, {"objective": x})
    assert search.ask()[:2] == ({"x": 0.2}, {"share": 0.9})


def test_a_promoted_configuration_is_found_in_a_table() -> None:
    table = [{"x": x, "share": share, "objective": x * share} for x in range(9) for share in (0.1, 0.3, 0.9)]
    benchmark = Benchmark.from_table(table, fidelity="share", runtime=RuntimeModel.constant(1.0))
    search = SuccessiveHalving(benchmark.space, "share", 0.1, 0.9, seed=0)
    result = simulate(search, benchmark, max_evals=30)
    assert {one["share"] for one in result.configurations} == {0.1, 0.1 * 3, 0.9}
    assert not any(isinstance(objective, str) for objective in result.objectives)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fidelity": ""}, "fidelity is ''"),
        ({"low": 0}, "low is 0"),
        ({"high": 0.5}, "high is 0.5"),
        ({"reduction_factor": 1}, "reduction_factor is 1; give a number above 1"),
        ({"reduction_factor": 1.000001}, "reduction_factor is 1.000001, which makes 2,197,226 rungs from 1 to 9"),
        ({"brackets": 4}, r"brackets is 4, and there are 3 rungs: \[1, 3, 9\]"),
        ({"space": 3}, "3"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        SuccessiveHalving(**{"space": SPACE, "fidelity": "epochs", "low": 1, "high": 9, **arguments})


def test_several_objectives_cannot_be_halved() -> None:
    search = SuccessiveHalving(SPACE, "share", 0.1, 1.0, reduction_factor=2)
    assert search.rungs == [0.1, 0.2, 0.4, 0.8, 1.0]
    with pytest.raises(BadArgument, match="compares one objective"):
        search.tell({"x": 0.5, "share": 0.1}, {"objective": (1.0, 2.0)})
