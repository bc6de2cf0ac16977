"""Code means in a worker what it means in the program: the script's classes, pickles, and where modules are found."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evalpool.worker._path import boot_text, understood_path

SCRIPT = Path(__file__).with_name("script_of_many_kinds.py")


def run(*command: str, cwd: Path, text: str | None = None, **environment: str) -> str:
    """What a program prints; its own session, so that whatever it leaves ends with the bound."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    ["process", "profile", "profile in a worker", "process in a worker", "fork", "spawn", "forkserver", "loky", "ray"],
)
def test_what_a_script_defines_is_the_same_on_both_ways(method: str, tmp_path: Path) -> None:
    if method == "ray" and importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    environment = {"RAY_AUTH_MODE": "disabled"}  # or Ray writes a token into the home directory
    assert run(str(SCRIPT), method, str(tmp_path), cwd=tmp_path, **environment) == f"checked {method}\n"


WITHOUT_A_GUARD = """
import enum, pickle
from evalpool import Evaluator

class Kind(enum.Enum):
    A = "a"

class Saved:
    weight = 2.5

file = pickle.dumps(Saved())
counted = 0

def run(job):
    global counted
    counted += 1
    assert job["kind"] is Kind.A and pickle.loads(pickle.dumps(Kind.A)) is Kind.A
    return pickle.loads(file).weight + counted

print("begins")
with Evaluator.create(run, "process") as evaluator:
    evaluator.submit([{"kind": Kind.A}] * 2)
    print([job.error or job.objective for job in evaluator.gather()])
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["file", "stdin", "-c", "-m"])
def test_a_script_is_not_run_again_however_it_was_started(form: str, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "module.py").write_text(WITHOUT_A_GUARD)
    command, text = {
        "file": (["package/module.py"], None),
        "stdin": (["-"], WITHOUT_A_GUARD),
        "-c": (["-c", WITHOUT_A_GUARD], None),
        "-m": (["-m", "package.module"], None),
    }[form]
    assert run(*command, cwd=tmp_path, text=text) == "begins\n[3.5, 4.5]\n"


CELLS = """
from evalpool import Evaluator

class Config:
    rate = 1.0

def run(job):
    return job["config"].rate

with Evaluator.create(run, "process") as evaluator:
    evaluator.submit([{"config": Config()}])
    before = evaluator.gather()

    class Config:
        rate = 2.0

    evaluator.submit([{"config": Config()}])
    print([job.error or job.objective for job in before + evaluator.gather()])
"""


@pytest.mark.slow
def test_a_class_that_was_defined_anew_comes_as_it_is_now(tmp_path: Path) -> None:
    assert run("-c", CELLS, cwd=tmp_path) == "[1.0, 2.0]\n"


SPAWNED = """
import multiprocessing, pickle
from evalpool import Evaluator

class Model:
    weight = 1.5

def run(job):
    return job["model"].weight + pickle.loads(pickle.dumps(Model())).weight + isinstance(job["model"], Model)

def search(queue):
    with Evaluator.create(run, "process") as evaluator:
        evaluator.submit([{"model": Model()}])
        queue.put([job.error or job.objective for job in evaluator.gather()])

if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=search, args=(queue,))
        process.start()
        print(method, queue.get(timeout=60))
        process.join()
"""


@pytest.mark.slow
def test_a_search_runs_in_a_process_that_multiprocessing_started(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SPAWNED)
    assert run("script.py", cwd=tmp_path) == "fork [4.0]\nspawn [4.0]\nforkserver [4.0]\n"


OWN_POOL = """
import multiprocessing, pickle, sys
from concurrent.futures import ProcessPoolExecutor
from evalpool import ExecutorEvaluator

class Model:
    weight = 1.0

def prepare():
    class Model:  # another definition than the script's
        weight = 10.0
        def own(self): ...
    Model.__qualname__ = "Model"
    sys.modules["__main__"].Model = Model

def run(job):
    theirs = pickle.loads(pickle.dumps(sys.modules["__main__"].Model())).weight
    added = pickle.loads(job["late"])
    return theirs + added.weight + job["model"].weight

if __name__ == "__main__":
    class Late:
        weight = 0.5

    for method in ("spawn", "fork"):
        with ProcessPoolExecutor(1, multiprocessing.get_context(method), prepare) as pool:
            with ExecutorEvaluator(run, executor=pool) as evaluator:
                evaluator.submit([{"late": pickle.dumps(Late()), "model": Model()}] * 2)
                print(method, [job.error or job.objective for job in evaluator.gather()], Model.weight)
"""


@pytest.mark.slow
def test_a_pool_of_the_users_keeps_its_names_and_gets_those_that_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(OWN_POOL)
    assert run("script.py", cwd=tmp_path) == "spawn [11.5, 11.5] 1.0\nfork [11.5, 11.5] 1.0\n"


COPIED = """
import copy, multiprocessing
from concurrent.futures import ProcessPoolExecutor
from evalpool import ExecutorEvaluator

class Layer:
    def __init__(self, width): self.width = width

def run(job):
    return float(type(job["layer"]) is Layer)

if __name__ == "__main__":
    copy.copy(Layer(1))  # Python keeps the names of its slots in the class
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        with ExecutorEvaluator(run, executor=pool) as evaluator:
            evaluator.submit([{"layer": Layer(2)}] * 2)
            print([job.error or job.objective for job in evaluator.gather()])
"""


@pytest.mark.slow
def test_a_class_whose_instances_were_copied_before_is_the_same_in_a_spawned_pool(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(COPIED)
    assert run("script.py", cwd=tmp_path) == "[1.0, 1.0]\n"


CACHING = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from evalpool import ExecutorEvaluator

class Model:
    weights = None
    _instance = None

    @classmethod
    def get(cls):
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

def run(job):
    assert isinstance(job["model"], Model) and isinstance(Model.get(), Model)
    return float(sum(Model.weights))

if __name__ == "__main__":
    Model.get()
    Model.weights = [1, 2]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        with ExecutorEvaluator(run, executor=pool) as evaluator:
            evaluator.submit([{"model": Model()}] * 2)
            print([job.error or job.objective for job in evaluator.gather()])
"""


@pytest.mark.slow
def test_a_class_whose_attributes_became_objects_is_the_same_in_a_spawned_pool(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(CACHING)
    assert run("script.py", cwd=tmp_path) == "[3.0, 3.0]\n"


MOVED = """
import os, sys
sys.path.insert(0, "lib")
from evalpool import Evaluator
import model, beside

os.mkdir("results")
os.chdir("results")
with open("beside.py", "w") as file:
    file.write("raise ImportError('another one')")
with Evaluator.create(lambda job: model.score(job["x"]) + beside.one, "process") as evaluator:
    evaluator.submit([{"x": 1}])
    print([job.error or job.objective for job in evaluator.gather()])
"""


@pytest.mark.slow
def test_modules_are_found_where_they_were_imported_from_after_a_chdir(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "model.py").write_text("def score(x): return x * 2.0\n")
    (tmp_path / "beside.py").write_text("one = 1.0\n")
    assert run("-c", MOVED, cwd=tmp_path) == "[3.0]\n"


STRANGE = """
import os, pathlib, sys
from evalpool import Evaluator

sys.path[:0] = [*map(os.fsdecode, {names!r}), pathlib.Path("/nowhere"), b"/nowhere"]
import colon_, newline_, bytes_

def run(job):
    return colon_.value + newline_.value + bytes_.value

with Evaluator.create(run, "process") as evaluator:
    evaluator.submit([{{}}])
    print([job.error or job.objective for job in evaluator.gather()])
"""


@pytest.mark.slow
def test_directories_on_the_path_may_have_any_name(tmp_path: Path) -> None:
    names = []
    for name, module in ((b"a:b", "colon_"), (b"a\nb", "newline_"), (b"a\xff\xfe", "bytes_")):
        directory = os.path.join(os.fsencode(tmp_path), name)
        os.mkdir(directory)
        with open(os.path.join(directory, os.fsencode(f"{module}.py")), "w") as file:
            file.write("value = 1.0\n")
        names.append(directory)
    assert run("-c", STRANGE.format(names=names), cwd=tmp_path) == "[3.0]\n"


def test_the_path_goes_through_a_text_unchanged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    odd = [str(tmp_path), "/a:b", "/a\nb", "/\udcff", "/ü"]
    monkeypatch.setattr(sys, "path", [*odd, tmp_path, b"/bytes", None, "/lone\ud800", "/nul\0"])
    path = understood_path()
    assert path == odd
    assert bytes.fromhex(boot_text(path)).decode("utf-8", "surrogatepass").split("\0") == odd
