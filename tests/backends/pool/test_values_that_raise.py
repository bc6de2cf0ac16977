"""Values of a run-function whose own code raises where they arrive: what they cannot say is left out, and no more."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from evalpool import ProcessPoolEvaluator, RunningJob


def leave() -> None:
    raise SystemExit(5)


class Leaving:
    """Raises `SystemExit` where it is unpickled."""

    def __reduce__(self) -> Any:
        return leave, ()


def run(job: RunningJob) -> float:
    job.record(1, Leaving())
    job.record(2, 0.5)
    logging.getLogger("training").warning("a step", extra={"state": Leaving()})
    return float(job["x"])


class Proxy:
    """Of something that is not there yet."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("not bound")


@pytest.fixture
def raising_factory() -> Iterator[None]:
    before = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        raise ValueError("this factory makes nothing")

    logging.setLogRecordFactory(factory)
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.slow
def test_records_that_cannot_be_unpickled_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with ProcessPoolEvaluator(run, num_workers=1) as evaluator:
        jobs = evaluator.submit([{"x": x} for x in range(3)])
        evaluator.gather("ALL", timeout=60)
        assert [job.objective for job in jobs] == [0.0, 1.0, 2.0]
        assert [len(record.recorded) for record in evaluator.results()] == [1, 1, 1]
    assert sum(record.message == "a step" for record in caplog.records) == 3
    assert any("could not be unpickled" in record.message for record in caplog.records)


@pytest.mark.slow
@pytest.mark.usefixtures("raising_factory")
def test_a_record_factory_that_raises_costs_the_record(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with ProcessPoolEvaluator(run, num_workers=1) as evaluator:
        jobs = evaluator.submit([{"x": x} for x in range(3)])
        evaluator.gather("ALL", timeout=60)
    assert [job.objective for job in jobs] == [0.0, 1.0, 2.0]
    assert not caplog.records
    assert "this factory makes nothing" in capfd.readouterr().err


def test_a_value_that_cannot_be_looked_at_is_refused_with_its_name() -> None:
    with ProcessPoolEvaluator(run) as evaluator:
        with pytest.raises(ValueError, match=r"'proxy' cannot be copied \(RuntimeError: not bound\)"):
            evaluator.submit([{"x": 1}, {"proxy": Proxy()}])
        assert evaluator.num_jobs_submitted == 0
