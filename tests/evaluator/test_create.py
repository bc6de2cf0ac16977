"""`Evaluator.create` and the registry of methods."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalpool import (
    EVALUATORS,
    BadArgument,
    EvalpoolError,
    Evaluator,
    MissingExtra,
    ProcessPoolEvaluator,
    SerialEvaluator,
    UnknownMethod,
    queued,
    simulated,
)
from evalpool.batch._cpus import usable_cpus


def run(job: Any) -> float:
    return 2.0 * job["x"]


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(UnknownMethod, match="'threads'") as caught:
        Evaluator.create(run, "threads")
    for name in ("serial", "thread", "process", "executor"):
        assert name in str(caught.value)
    with pytest.raises(ValueError, match="serial"):
        EVALUATORS["threads"]
    with pytest.raises(ValueError, match="3"):
        Evaluator.create(run, 3)  # type: ignore[arg-type]


def test_a_method_that_is_unknown_is_not_in_the_mapping() -> None:
    assert "serial" in EVALUATORS
    assert "threads" not in EVALUATORS
    assert EVALUATORS.get("threads") is None  # as of any mapping


def test_an_unknown_keyword_lists_those_there_are() -> None:
    with pytest.raises(BadArgument, match="'workers'") as caught:
        Evaluator.create(run, "process", {"workers": 3})
    for name in ("num_workers", "callbacks", "run_function_kwargs", "storage", "search_id", "job_timeout", "retries"):
        assert name in str(caught.value)
    assert "run_function," not in str(caught.value)
    with pytest.raises(TypeError, match="num_workers"):
        Evaluator.create(run, "serial", {"workers": 3})


@pytest.mark.parametrize("wrong", [[("num_workers", 2)], "num_workers=2", {1: 2}])
def test_keywords_that_are_no_dict_are_refused(wrong: Any) -> None:
    with pytest.raises(BadArgument):
        Evaluator.create(run, "serial", wrong)


def test_loky_is_process() -> None:
    assert EVALUATORS["loky"] is EVALUATORS["process"] is ProcessPoolEvaluator


def test_each_name_that_is_listed_can_be_had_or_names_what_to_install() -> None:
    for name in EVALUATORS:
        with contextlib.suppress(MissingExtra):
            assert issubclass(EVALUATORS[name], Evaluator)
    assert len(EVALUATORS) == len(list(EVALUATORS))
    assert "serial" in repr(EVALUATORS)


@pytest.mark.parametrize("method", ["serial", "thread"])
def test_minus_one_worker_is_every_usable_cpu(method: str) -> None:
    with Evaluator.create(run, method, {"num_workers": -1}) as evaluator:
        assert evaluator.num_workers == usable_cpus()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_the_affinity_of_the_process_counts() -> None:
    cpus = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cpus)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, cpus)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a distribution of somebody else: a module and its entry point."""

    def install(entry_points: str, source: str, *more: str) -> None:
        (tmp_path / "their_backend.py").write_text(source)
        info = tmp_path / "their_backend-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-backend\nVersion: 1.0\n")
        text = "".join(f"[evalpool.{group}]\n{lines}" for group, lines in zip(more[::2], more[1::2], strict=True))
        (info / "entry_points.txt").write_text(f"[evalpool.backends]\n{entry_points}{text}")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "their_backend", raising=False)
        importlib.invalidate_caches()

    return install


SOURCE = """
from evalpool import SerialEvaluator

class TheirEvaluator(SerialEvaluator):
    def __init__(self, run_function, *, flavour="plain", **kwargs):
        super().__init__(run_function, **kwargs)
        self.flavour = flavour
"""


def test_backends_of_other_packages_are_found_by_their_entry_point(package: Callable[[str, str], None]) -> None:
    package("theirs = their_backend:TheirEvaluator\n", SOURCE)
    assert "theirs" in EVALUATORS
    assert "theirs" in list(EVALUATORS)
    assert "their_backend" not in sys.modules  # listing imports nothing
    with Evaluator.create(run, "theirs", {"flavour": "sweet", "num_workers": 1}) as evaluator:
        assert type(evaluator).__name__ == "TheirEvaluator"
        assert evaluator.flavour == "sweet"  # type: ignore[attr-defined]
        evaluator.submit([{"x": 3}])
        assert [job.objective for job in evaluator.gather()] == [6.0]
    with pytest.raises(BadArgument, match="flavour"):
        Evaluator.create(run, "theirs", {"taste": 1})
    with pytest.raises(UnknownMethod, match="theirs"):
        Evaluator.create(run, "their")


@pytest.mark.parametrize("group", ["backends", "launchers"])
def test_an_entry_point_cannot_take_the_place_of_our_own_and_that_is_said_once(
    package: Callable[..., None], group: str, caplog: pytest.LogCaptureFixture
) -> None:
    lines = "serial = their_backend:TheirEvaluator\n"
    package(lines if group == "backends" else "", SOURCE, *(["launchers", lines] if group == "launchers" else []))
    assert EVALUATORS["serial"] is SerialEvaluator
    assert [list(EVALUATORS).count("serial") for _ in range(2)] == [1, 1]
    (said,) = (record.message for record in caplog.records if "counts for nothing" in record.message)
    assert f"'serial' in evalpool.{group} of the distribution their-backend 1.0" in said


def test_a_name_that_a_launcher_and_a_backend_have_is_refused(package: Callable[..., None]) -> None:
    """Else one would hide the other, and which of them is nobody's choice."""
    package("theirs = their_backend:TheirEvaluator\n", SOURCE, "launchers", "theirs = their_backend:Launcher\n")
    with pytest.raises(BadArgument, match=r"Launcher, the entry point 'theirs' in evalpool.launchers.* and by "):
        Evaluator.create(run, "theirs")


@pytest.mark.parametrize(
    ("module", "error", "said"),
    [
        ("gone:Backend", ImportError, r"cannot be imported \(ModuleNotFoundError: No module named 'gone'\)\. Install"),
        ("their_backend:Gone", BadArgument, "names what is not there: .*Gone"),
        ("their_backend", BadArgument, "is no subclass of Evaluator"),
    ],
)
def test_an_entry_point_that_cannot_be_imported_says_whose_it_is(
    package: Callable[[str, str], None], module: str, error: type[Exception], said: str
) -> None:
    package(f"theirs = {module}\n", SOURCE)
    with pytest.raises(
        EvalpoolError, match=f"'theirs' in evalpool.backends of the distribution their-backend 1.0, {said}"
    ):
        Evaluator.create(run, "theirs")
    with pytest.raises(error):
        Evaluator.create(run, "theirs")


@pytest.mark.parametrize("what", ["TheirEvaluator", "run", "TheirBackend", "7"])
def test_a_launcher_that_is_none_is_refused(package: Callable[..., None], what: str) -> None:
    source = SOURCE + ENGINE + "def run(): ...\nglobals()['7'] = 7\n"
    package("", source, "launchers", f"theirs = their_backend:{what}\n")
    with pytest.raises(BadArgument, match=rf"their_backend:{what}, the entry point .* is no subclass of Launcher"):
        Evaluator.create(run, "theirs")


def test_an_entry_point_that_names_no_evaluator_says_so(package: Callable[[str, str], None]) -> None:
    package("theirs = their_backend:run\n", "def run(): ...\n")
    with pytest.raises(BadArgument, match=r"their_backend:run"):
        Evaluator.create(run, "theirs")


ENGINE = """
from evalpool.backends import Backend

class TheirBackend(Backend):
    def __init__(self, flavour="plain"):
        self.flavour = flavour

    def start(self, port):
        self.port = port

    def run(self, attempts):
        for attempt in attempts:
            self.port.report([(attempt, self.port.evaluate(attempt, None))])
"""


def test_an_entry_point_may_name_an_engine(package: Callable[[str, str], None]) -> None:
    package("theirs = their_backend:TheirBackend\n", ENGINE)
    assert EVALUATORS["theirs"] is EVALUATORS["theirs"]
    with Evaluator.create(run, "theirs", {"flavour": "sweet", "num_workers": 3}) as evaluator:
        assert type(evaluator).__name__ == "TheirEvaluator"
        assert evaluator._backend.flavour == "sweet"  # type: ignore[attr-defined]
        evaluator.submit([{"x": 3}])
        assert [job.objective for job in evaluator.gather()] == [6.0]
    with pytest.raises(BadArgument, match=r"no argument 'taste'; it has .*flavour"):
        Evaluator.create(run, "theirs", {"taste": 1})


def test_a_queue_of_resources_upon_another_is_refused() -> None:
    with pytest.raises(BadArgument, match="QueuedSerialEvaluator lends from a queue already"):
        queued(queued(SerialEvaluator))
    with pytest.raises(BadArgument, match="lends from a queue already"):
        queued(simulated(queued(SerialEvaluator)))
