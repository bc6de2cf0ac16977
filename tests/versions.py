"""Run the tests that need no cluster on every supported Python that pyenv or the PATH offers.

    make test-versions                          all of them
    make test-versions PYTEST_ARGS='-k serial'  some tests on each

Each interpreter gets an environment of its own, ``.venv-3.12`` and so on, with the extra ``test``. Standard library
only, since it runs before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
ELSEWHERE = ("backends/ray", "backends/mpi", "docs", "examples", "cli/test_page.py", "test_typing.py")
"""Below tests/: what needs a cluster, a browser, mypy or the site's tools, and is the same on every Python."""


def interpreters() -> dict[str, Path]:
    """Version -> interpreter, the newest patch release of pyenv before that of the PATH."""
    found = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in VERSIONS:
        patches = [path for path in pyenv.glob(f"{version}.*/bin/python{version}") if path.parts[-3][-1].isdigit()]
        patches.sort(key=lambda path: int(path.parts[-3].rpartition(".")[2]))
        on_path = shutil.which(f"python{version}")
        if patches:
            found[version] = patches[-1]
        elif on_path is not None and subprocess.run([on_path, "--version"], capture_output=True).returncode == 0:
            found[version] = Path(on_path)
    return found


def python_of(version: str, interpreter: Path) -> Path:
    """The Python of an environment in which evalpool and its tests' packages are installed."""
    environment = ROOT / f".venv-{version}"
    python = environment / "bin" / "python"
    stamp = environment / ".installed-test"
    if not python.exists():
        subprocess.run([str(interpreter), "-m", "venv", str(environment)], check=True)
    setup = (ROOT / "setup.cfg").stat().st_mtime
    if not stamp.exists() or stamp.stat().st_mtime < setup:
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-e", f"{ROOT}[test]"], check=True)
        stamp.touch()
    return python


def main(arguments: list[str]) -> int:
    found = interpreters()
    if not found:
        print(f"There is no Python of {', '.join(VERSIONS)} in pyenv or on the PATH.")
        return 1
    results = {}
    for version, interpreter in found.items():
        print(f"== Python {version}: {interpreter}", flush=True)
        ignored = [f"--ignore={ROOT / 'tests' / name}" for name in ELSEWHERE]
        command = [
            str(python_of(version, interpreter)),
            "-m",
            "pytest",
            "-q",
            *ignored,
            str(ROOT / "tests"),
            *arguments,
        ]
        results[version] = subprocess.run(command, cwd=ROOT).returncode
    missing = [version for version in VERSIONS if version not in found]
    for version, code in results.items():
        print(f"Python {version}: {'passed' if code == 0 else f'failed, exit code {code}'}")
    if missing:
        print(f"Not found, so not run: Python {', '.join(missing)}")
    return max(results.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
