"""What a script defines means the same in Ray's workers, and its modules are found where they were found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import enum, os, pickle, sys
from dataclasses import dataclass

sys.path.insert(0, "beside")
import module_beside  # found before the directory changes
os.chdir("/")
from evalpool import RayEvaluator

class Colour(enum.Enum):
    RED = 1
    BLUE = 2

@dataclass
class Point:
    x: float

def run(job):
    import module_beside
    assert job["colour"] is Colour.RED
    assert type(pickle.loads(pickle.dumps(job["point"]))) is Point
    return {"objective": job["point"].x + module_beside.VALUE, "made": (Colour.BLUE, Point(2.0))}

if __name__ == "__main__":
    small = {"include_dashboard": False, "log_to_driver": False, "object_store_memory": 100_000_000}
    with RayEvaluator(run, num_workers=1, num_cpus=1, ray_kwargs=small) as evaluator:
        evaluator.submit([{"colour": Colour.RED, "point": Point(1.0)}])
        (job,) = evaluator.gather()
        print(job.error or job.objective, job.output["made"][0] is Colour.BLUE, type(job.output["made"][1]) is Point)
"""


@pytest.mark.slow
def test_classes_and_modules_of_the_script_are_the_same_on_both_ways(tmp_path: Path) -> None:
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "module_beside.py").write_text("VALUE = 3.0")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "4.0 True True", done.stderr
