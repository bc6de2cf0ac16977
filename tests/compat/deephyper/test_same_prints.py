"""Programs print the same with deephyper and with evalpool in its place; and what wrong uses say."""

from __future__ import annotations

import re

import pytest

from compat.deephyper.peer import printed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(450)]

OURS = "evalpool.compat.deephyper"


def test_programs_that_use_evaluators_directly_print_the_same() -> None:
    assert printed("evaluators.py", OURS) == printed("evaluators.py", "deephyper")


def test_ensembles_print_the_same() -> None:
    *ours, last = printed("ensembles.py", "evalpool")
    assert ours == printed("ensembles.py", "deephyper")
    assert last == "(1,)", "on `serial`, too"


def test_deephypers_stoppers_are_stoppers_of_evalpools_evaluators() -> None:
    arguments, *lines = printed("stoppers.py")
    assert arguments == "['max_steps', 'min_steps', 'min_competing', 'interval_steps', 'epsilon']"
    said = [line.split(": ", 1) for line in lines]
    for name, steps, early in (
        ("constant", "[4, 4, 4, 4, 4, 4]", "[True, True, True]"),
        ("halving", "[10, 1, 1, 10, 1, 10]", "[False, True, True]"),
        ("median", "[10, 1, 1, 10, 1, 2]", "[False, True, True]"),
        ("median of ten", "[10, 10, 10, 10, 10, 10]", "[False, False, False]"),
    ):
        for method in ("serial", "thread", "process"):
            assert [f"{name}, {method}", f"{steps} {early}"] in said


WRONG_USES = {
    "uninstall first": "CompatError: uninstall.. was called, .*there is no install.. to undo",
    "without": "MissingExtra: .*deephyper, which is not installed.*compat",
    "twice": "CompatError: install.. was called already.*uninstall",
    "core": "BadArgument: The evaluator is an evalpool.SerialEvaluator.*evalpool.compat.deephyper.evaluator",
    "ours without install": "TypeError: .*evalpool.compat.deephyper",
    "theirs": "BadArgument: .*ThreadPoolEvaluator of deephyper's own.*Call install.. before",
    "storage": "BadArgument: .*deephyper.evaluator.storage._memory_storage.MemoryStorage. Give one of",
    "job class": "BadArgument: _job_class is .*after evalpool.compat.deephyper.install..",
    "no evaluator": "TypeError: .*<class 'int'>",
    "unknown version": "nothing . deephyper 0.14.1 is installed, and evalpool .* knows deephyper 0.13",
    "undone": "CompatError: .*no install.. to undo",
    "threads": "CompatError CompatError installed",
    "in a worker": r"evalpool\.compat\S+ deephyper\.evaluator\._evaluator",
}


def test_wrong_uses_say_what_is_wrong_also_where_deephyper_alone_cannot_be_imported_for_want_of_mpi() -> None:
    said = dict(line.split(": ", 1) for line in printed("wrong_use.py", mpi=False))
    assert list(said) == list(WRONG_USES)
    for use, pattern in WRONG_USES.items():
        assert re.match(pattern, said[use]), f"{use}: {said[use]}"
