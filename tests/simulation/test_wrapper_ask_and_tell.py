"""The wrapper that runs an optimiser itself."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from evalpool.errors import BadArgument, SimulationError, WrongKeys
from evalpool.simulation import AbstractAskTellOptimizer, ObjectiveFuncWrapper

from .callers import FOUR, FOUR_ENDS, TWO, TWO_ENDS, in_line
from .test_wrapper import epochs, make


class InLine(AbstractAskTellOptimizer):
    """Proposes configurations in line and writes down what it is told."""

    def __init__(self, proposals: list[Any]) -> None:
        self._proposals = proposals
        self.asked = 0
        self.told: list[tuple[Any, ...]] = []
        self.known: list[int] = []  # how many were told before each proposal

    def ask(self) -> tuple[Any, ...]:
        self.known.append(len(self.told))
        self.asked += 1
        proposal = self._proposals[min(self.asked, len(self._proposals)) - 1]
        return proposal if isinstance(proposal, tuple) else (proposal, None)

    def tell(
        self, eval_config: dict[str, Any], results: dict[str, Any], *, fidels: Any = None, config_id: Any = None
    ) -> None:
        self.told.append((eval_config.get("x"), results, fidels, config_id))


def tasks(runtimes: list[Any]) -> list[dict[str, Any]]:
    return [{"x": index, "runtime": float(runtime)} for index, runtime in enumerate(runtimes)]


def simulate(tmp_path: Path, optimizer: Any, objective: Any = in_line, **settings: Any) -> ObjectiveFuncWrapper:
    wrapper = make(tmp_path, objective, ask_and_tell=True, **settings)
    wrapper.simulate(optimizer)
    return wrapper


@pytest.mark.parametrize(("runtimes", "ends", "workers"), [(TWO, TWO_ENDS, 2), (FOUR, FOUR_ENDS, 4)])
def test_completions_are_those_of_workers_that_call(
    tmp_path: Path, runtimes: list[int], ends: list[int], workers: int
) -> None:
    optimizer = InLine(tasks(runtimes))
    wrapper = simulate(tmp_path, optimizer, n_workers=workers, n_evals=20)
    results = wrapper.get_results()
    assert results["cumtime"] == ends
    assert [told[0] for told in optimizer.told] == results["loss"]
    assert 20 <= optimizer.asked < 20 + workers
    wrapper.close()


@pytest.mark.parametrize("expensive", [False, True])
def test_no_decision_knows_a_result_before_every_worker_has_its_first_evaluation(
    tmp_path: Path, expensive: bool
) -> None:
    # decisions: |0|1 0.1 s|2|
    # worker-0:    |0: 0.01|
    # worker-1:              |1 ...
    class Thinks(InLine):
        def ask(self) -> tuple[Any, ...]:
            if self.asked == 1:
                threading.Event().wait(0.1)
            return super().ask()

    optimizer = Thinks(tasks([0.01, 9, 9, 9]))
    simulate(tmp_path, optimizer, n_workers=3, n_evals=3, overhead="measured", expensive_sampler=expensive)
    assert optimizer.known[:3] == [0, 0, 0]


def serially(seconds: float) -> Any:
    return lambda worker, call: seconds


def test_a_declared_overhead_is_charged_to_its_worker_alone(tmp_path: Path) -> None:
    # worker-0: |0.5|4-------|
    # worker-1: |0.5|1-|0.5|1-|0.5|1-|
    optimizer = InLine(tasks([4, 1, 1, 1]))
    wrapper = simulate(tmp_path, optimizer, n_workers=2, n_evals=4, overhead=serially(0.5))
    assert wrapper.get_results()["cumtime"] == [1.5, 3.0, 4.5, 4.5]
    samples = wrapper.get_optimizer_overhead()
    assert samples["before_sample"][:3] == [0.0, 0.0, 1.5]


def test_measured_overhead_counts_what_the_optimiser_takes_to_learn(tmp_path: Path) -> None:
    class Slow(InLine):
        def tell(self, *args: Any, **kwargs: Any) -> None:
            threading.Event().wait(0.05)
            super().tell(*args, **kwargs)

    wrapper = simulate(tmp_path, Slow(tasks([1] * 3)), n_evals=3, overhead="measured")
    cumtimes = wrapper.get_results()["cumtime"]
    assert cumtimes[2] >= 3 + 2 * 0.05
    assert cumtimes[0] < 1.05


def test_fidelities_and_ids_are_told_and_continued(tmp_path: Path) -> None:
    optimizer = InLine([({"x": 1}, {"epoch": 3}, 7), ({"x": 1}, {"epoch": 9}, 7)])
    wrapper = simulate(
        tmp_path, optimizer, epochs, n_evals=2, fidel_keys=["epoch"], continual_max_fidel=9, store_config=True
    )
    assert [told[1]["runtime"] for told in optimizer.told] == [3.0, 6.0]
    assert [told[2:] for told in optimizer.told] == [({"epoch": 3}, 7), ({"epoch": 9}, 7)]
    results = wrapper.get_results()
    assert results["epoch"] == [3, 9]
    assert results["seed"][0] == results["seed"][1]
    assert results["prev_fidel"] == [0, 3]
    assert json.loads(Path(wrapper.dir_name, "state_cache.json").read_text()) == {}


def test_a_fidelity_whose_configuration_was_proposed_under_another_id_is_an_error(tmp_path: Path) -> None:
    optimizer = InLine([({"x": 1}, {"epoch": 3}, 7), ({"x": 2}, {"epoch": 9}, 7)])
    with pytest.raises(BadArgument, match="config_id 7"):
        simulate(tmp_path, optimizer, epochs, n_evals=2, fidel_keys=["epoch"], continual_max_fidel=9)


def test_batches_are_told_in_the_order_of_their_ends(tmp_path: Path) -> None:
    optimizer = InLine(tasks([4, 1, 2, 1, 1, 1]))
    wrapper = simulate(tmp_path, optimizer, n_workers=2, n_evals=5, batch_size=3, overhead=serially(0.5))
    assert wrapper.get_results()["cumtime"] == [1.5, 3.5, 4.5, 6.0, 6.0]
    assert [told[0] for told in optimizer.told] == [1, 2, 0, 3, 4]
    assert optimizer.known == [0, 0, 0, 3, 3], "nothing is told within a batch"


def test_the_end_of_time_ends_it(tmp_path: Path) -> None:
    wrapper = simulate(tmp_path, InLine(tasks([2] * 20)), n_workers=2, n_evals=20, max_total_eval_time=5.0)
    assert wrapper.get_results()["cumtime"] == [2.0, 2.0, 4.0, 4.0]


def test_optimisers_of_other_forms_are_told_the_objective(tmp_path: Path) -> None:
    class Plain:
        def __init__(self) -> None:
            self.told: list[Any] = []

        def ask(self) -> dict[str, Any]:
            return {"x": 1, "runtime": 1.0}

        def tell(self, configuration: dict[str, Any], objective: float) -> None:
            self.told.append((configuration["x"], objective))

    optimizer = Plain()
    simulate(tmp_path, optimizer, n_evals=2)
    assert optimizer.told == [(1, 1), (1, 1)]


@pytest.mark.parametrize("optimizer", [object(), type("NoTell", (), {"ask": dict})(), type("NoAsk", (), {"tell": 1})()])
def test_an_optimiser_without_ask_or_tell_is_a_value_error(tmp_path: Path, optimizer: Any) -> None:
    with pytest.raises(ValueError, match="has no method"):
        simulate(tmp_path, optimizer)


def test_what_the_objective_raises_passes_through_and_what_was_completed_stays(tmp_path: Path) -> None:
    wrapper = make(tmp_path, lambda eval_config, fidels, seed: {}, ask_and_tell=True, n_evals=5)
    with pytest.raises(WrongKeys):
        wrapper.simulate(InLine([{"x": 0, "runtime": 1.0}, {"x": 0, "runtime": 1.0}]))
    wrapper = make(tmp_path, in_line, save_dir_name="other", ask_and_tell=True, n_evals=5)
    with pytest.raises(KeyError):
        wrapper.simulate(InLine([{"x": 0, "runtime": 1.0}, {}]))
    assert wrapper.get_results()["loss"] == [0]
    with pytest.raises(SimulationError, match="simulated an optimizer already"):
        wrapper.simulate(InLine([]))


def test_a_tell_that_takes_anything_is_told_everything(tmp_path: Path) -> None:
    class Anything:
        def __init__(self) -> None:
            self.told: list[Any] = []

        def ask(self) -> tuple[Any, Any]:
            return {"x": 1}, {"epoch": 2}

        def tell(self, *args: Any, **kwargs: Any) -> None:
            self.told.append((args[0], args[1]["runtime"], kwargs))

    optimizer = Anything()
    simulate(tmp_path, optimizer, epochs, n_evals=1, fidel_keys=["epoch"])
    assert optimizer.told == [({"x": 1}, 2.0, {"fidels": {"epoch": 2}, "config_id": None})]


def test_the_two_kinds_of_wrapper_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match="ask_and_tell=True"):
        make(tmp_path, save_dir_name="a").simulate(InLine([]))
    with pytest.raises(NotImplementedError, match="simulate"):
        make(tmp_path, save_dir_name="b", ask_and_tell=True)({"x": 1})
