"""Packages that cannot be installed beside evalpool's own: each in an environment of its own, made by the tests.

An environment has the package and evalpool's dependencies; evalpool itself comes from this tree.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from services import IN_CI, missing

__all__ = ["ENVIRONMENTS", "Environment"]

ROOT = Path(__file__).resolve().parents[2]
DEPENDENCIES = ("cloudpickle>=2.2", "psutil>=5.9", "pydantic>=2.5", "tqdm>=4.64")


class Environment(NamedTuple):
    """An environment with packages from the package index.

    Attributes:
        name: of its folder, ``.venv-benchmarks-<name>``.
        packages: what is installed.
        why: it is apart.
        bare: packages that are installed without what they need, because it is not needed here.
    """

    name: str
    packages: tuple[str, ...]
    why: str
    bare: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return ROOT / f".venv-benchmarks-{self.name}" / "bin" / "python"

    @property
    def _whole(self) -> bool:
        done = self.python.parent.parent / ".installed"
        return done.exists() and done.read_text() == self._wanted

    @property
    def _wanted(self) -> str:
        return " ".join([*self.packages, *self.bare])

    def make(self) -> None:
        """Make the environment, unless it is there whole. Raises `OSError` or `subprocess.SubprocessError`."""
        if self._whole:
            return
        folder = self.python.parent.parent
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=120)
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *self.packages, *DEPENDENCIES], check=True, timeout=900)
        if self.bare:
            subprocess.run([*pip, "--no-deps", *self.bare], check=True, timeout=120)
        (folder / ".installed").write_text(self._wanted)

    def install(self) -> None:
        """The same for a test: elsewhere than in CI it is skipped without the environment."""
        try:
            if not IN_CI and not self._whole:
                raise FileNotFoundError(f"{self.python.parent.parent} is not there; make it with CI=true ({self.why})")
            self.make()
        except (OSError, subprocess.SubprocessError) as error:
            missing(self.packages[0], error)

    def run(self, program: str, bound: float = 100.0) -> Any:
        """Run a program there; return what it printed last, read as JSON."""
        own = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "ignore"}
        ended = subprocess.run(
            [str(self.python), "-c", program], env=own, capture_output=True, text=True, timeout=bound, check=False
        )
        assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
        return json.loads(ended.stdout.splitlines()[-1])


ENVIRONMENTS = {
    "mfpbench": Environment(
        "mfpbench",
        ("mf-prior-bench==1.10.0", "optuna>=3.5", "cmaes>=0.12", "nevergrad>=1.0", "scikit-optimize>=0.10"),
        "mf-prior-bench needs numpy below 2; the optimisers stand beside it",
    ),
    "yahpo": Environment("yahpo", ("yahpo-gym==1.0.2", "onnx<1.18", "numpy<2"), "yahpo-gym needs an old ConfigSpace"),
    "carps": Environment("carps", ("carps==1.1.0", "ioh>=0.3.22"), "carps brings fifty packages"),
    "synetune": Environment(
        "synetune",
        ("numpy", "pandas", "scikit-learn", "sortedcontainers", "dill", "huggingface_hub", "fastparquet"),
        "syne-tune brings xgboost and its GPU library, which tables do not need",
        ("syne-tune==0.16.0",),
    ),
}
