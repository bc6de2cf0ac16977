"""When early stopping ends a search, and when it does not."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from evalpool.backends import SerialEvaluator
from evalpool.callbacks import SearchEarlyStopping
from evalpool.errors import BadArgument


def stopped_after(callback: SearchEarlyStopping, outcomes: list[Any]) -> int | None:
    """How many results it took until the callback asked to stop; None if it never did."""
    with SerialEvaluator(lambda job: outcomes[job["i"]], callbacks=[callback]) as evaluator:
        for i in range(len(outcomes)):
            evaluator.submit([{"i": i}])
            evaluator.gather()
            if callback.search_stopped:
                return i + 1
    return None


def test_it_stops_after_patience_results_without_improvement() -> None:
    assert stopped_after(SearchEarlyStopping(patience=3), [1, 2, 1, 2, 0, 5]) == 5


def test_an_improvement_starts_the_count_again() -> None:
    assert stopped_after(SearchEarlyStopping(patience=3), [1, 0, 0, 2, 0, 0, 3, 0, 0]) is None


def test_an_equal_result_is_no_improvement() -> None:
    assert stopped_after(SearchEarlyStopping(patience=2), [1, 1, 1]) == 3


def test_zero_is_an_improvement_over_a_negative_objective() -> None:
    assert stopped_after(SearchEarlyStopping(patience=2), [-1, -1, 0, -1]) is None


def test_failures_count_as_no_improvement() -> None:
    assert stopped_after(SearchEarlyStopping(patience=3), [1, "F_a", "F_b", "F_c"]) == 4


def test_nothing_but_failures_stops_too() -> None:
    assert stopped_after(SearchEarlyStopping(patience=3), ["F_a"] * 5) == 3


def test_it_waits_for_the_threshold() -> None:
    outcomes = [1, 0, 0, 0, 0, 9, 0, 0]
    assert stopped_after(SearchEarlyStopping(patience=2, threshold=5), outcomes) == 8
    assert stopped_after(SearchEarlyStopping(patience=2, threshold=9), outcomes) is None


def test_with_several_objectives_a_new_point_on_the_front_is_an_improvement() -> None:
    outcomes = [(1, 1), (2, 0), (0, 2), (0, 0), (1, 1), (1, 0)]
    assert stopped_after(SearchEarlyStopping(patience=3), outcomes) == 6


def test_with_several_objectives_a_result_worse_than_all_is_no_improvement() -> None:
    # It moves the reference point, so the hypervolume grows all the same.
    assert stopped_after(SearchEarlyStopping(patience=2), [(1, 1), (2, 2), (-1, -1), (-5, -5)]) == 4


def test_with_several_objectives_the_threshold_is_a_hypervolume() -> None:
    outcomes = [(0, 0), (2, 2), (1, 1), (1, 1)]
    assert stopped_after(SearchEarlyStopping(patience=2, threshold=3.9), outcomes) == 4
    assert stopped_after(SearchEarlyStopping(patience=2, threshold=4.0), outcomes) is None


def test_another_quantity_can_be_watched() -> None:
    callback = SearchEarlyStopping(patience=2, objective_func=lambda job: -job.objective)
    assert stopped_after(callback, [3, 2, 1, 5, 6]) == 5


def test_a_watched_quantity_without_a_value_is_no_improvement() -> None:
    callback = SearchEarlyStopping(patience=2, objective_func=lambda job: float("nan"))
    assert stopped_after(callback, [3, 2, 1]) == 2


def test_a_watched_quantity_is_not_asked_of_failures() -> None:
    callback = SearchEarlyStopping(patience=2, objective_func=lambda job: job.objective + 1)
    assert stopped_after(callback, [1, "F_a", "F_b"]) == 3


def test_cancelled_jobs_do_not_count() -> None:
    callback = SearchEarlyStopping(patience=1)
    evaluator = SerialEvaluator(lambda job: 1.0, callbacks=[callback])
    evaluator.submit([{}] * 5)
    evaluator.close()
    assert not callback.search_stopped


def test_it_says_why_it_stops(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "evalpool"):
        stopped_after(SearchEarlyStopping(patience=2), [1, 0, 0])
        assert "no improvement in the last 2 evaluations" in caplog.text
        caplog.clear()
        stopped_after(SearchEarlyStopping(patience=2, verbose=False), [1, 0, 0])
        assert caplog.text == ""


@pytest.mark.parametrize("patience", [0, -1, 1.5, "3", True])
def test_a_patience_that_is_none_is_refused(patience: Any) -> None:
    with pytest.raises(BadArgument, match="patience is"):
        SearchEarlyStopping(patience=patience)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(BadArgument, match="objective_func is 3"):
        SearchEarlyStopping(objective_func=3)  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="threshold is 'max'"):
        SearchEarlyStopping(threshold="max")  # type: ignore[arg-type]
