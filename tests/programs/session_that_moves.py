"""A session imports a module beside it and then changes its directory: workers find the module all the same.

There is a `pathlib.Path` in its `sys.path`, too, which Python overlooks.

Prints:

    ['results', 6.0]
"""

import subprocess
import sys
from pathlib import Path

SESSION = """
import os, pathlib, sys
sys.path.insert(1, pathlib.Path("elsewhere"))
from evalpool import Evaluator
import model

os.chdir("results")
with Evaluator.create(lambda job: model.score(job["x"]), method="process") as evaluator:
    evaluator.submit([{"x": 2}])
    (job,) = evaluator.gather()
print([pathlib.Path.cwd().name, job.error or job.objective])
"""
Path("results").mkdir()
Path("model.py").write_text("def score(x):\n    return 3.0 * x\n")
subprocess.run([sys.executable, "-c", SESSION], check=True, timeout=50)
