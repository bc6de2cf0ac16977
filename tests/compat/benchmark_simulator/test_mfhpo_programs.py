"""Programs that run on mfhpo-simulator itself and here: they print the same, but for what the page says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import services

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = Path(__file__).parent / "programs"
BOUND = 100

THERE, HERE = "benchmark_simulator", "evalpool.compat.benchmark_simulator"
SAME = sorted(path.stem for path in PROGRAMS.glob("*.py") if path.stem != "differences")

MEASURED = {"expensive_callers", "expensive_sampler", "first_decision"}
"""They print what they measured, to a tenth of a second: a busy machine may need another attempt."""
ATTEMPTS = 4

DIFFERENCES = {
    "warnings for a thousand workers": ("True", "False"),
    "beside a worker that dies": ("TimeoutError", "1"),
    "after a failure": ("[1]", "['F_ZeroDivisionError', 1]"),
    "known before each decision": ("[0, 0, 0, 1, 2]", "[0, 0, 0, 1, 3]"),
    "results of n_evals=2": ("3", "2"),
    "ends within 1500 s": ("[1000, 2000]", "[1000]"),
    "with n_evals=0": ("1", "ValueError"),
    "within -1 s": ("0", "ValueError"),
    "another name of the fidelity": ("0", "KeyError"),
    "known before each decision of batches of two": ("[0, 1, 2, 3]", "[0, 0, 2, 2]"),
    "seeds of two runs are the same": ("True", "True"),
    "the first seed of 3": ("218175338", "819382448"),
    "charged for epochs 1, 3, 9": ("[10, 20, 70]", "[10, 20, 60]"),
    "decisions longer than evaluations": ("TimeoutError", "4 results"),
    "a waiting call uses CPU time": ("True", "False"),
}


def printed(program: str, root: str, where: Path) -> str:
    """What a program prints, in a directory of its own."""
    where.mkdir()
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAMS / f"{program}.py"), root],
        cwd=where,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    assert done.returncode == 0, f"{program} on {root}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("program", SAME)
def test_a_program_prints_the_same_on_both(program: str, tmp_path: Path) -> None:
    services.package(THERE)
    for attempt in range(ATTEMPTS if program in MEASURED else 1):
        here, there = (printed(program, root, tmp_path / f"{root}-{attempt}") for root in (HERE, THERE))
        if here == there:
            return
    assert here == there


@pytest.mark.slow
def test_what_differs_is_what_the_page_says(tmp_path: Path) -> None:
    services.package(THERE)
    for place, root in enumerate((THERE, HERE)):
        lines = [line.split(": ", 1) for line in printed("differences", root, tmp_path / str(place)).splitlines()]
        assert dict(lines) == {what: values[place] for what, values in DIFFERENCES.items()}
