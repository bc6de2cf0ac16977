"""What can be imported, and what that costs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import evalpool
from evalpool import Evaluator

ROOMS = ["evalpool", "evalpool.evaluator", "evalpool.backends", "evalpool.callbacks", "evalpool.storage",
         "evalpool.simulation", "evalpool.benchmarks", "evalpool.analysis", "evalpool.testing", "evalpool.errors",
         "evalpool.models", "evalpool.outcomes"]  # fmt: skip

CONTRACT = {
    "evalpool": """Evaluator EVALUATORS Job HPOJob JobStatus RunningJob SerialEvaluator ThreadPoolEvaluator
        ProcessPoolEvaluator RayEvaluator MPICommEvaluator ExecutorEvaluator queued distributed simulate simulated
        profile
        parse_subprocess_result to_json MaximumJobsSpawnReached EvaluatorClosed JobError MissingExtra""",
    "evalpool.callbacks": """Callback LoggerCallback TqdmCallback SearchEarlyStopping CSVLoggerCallback
        ProfilingCallback""",
    "evalpool.storage": """Storage MemoryStorage NullStorage SharedMemoryStorage SQLiteStorage JournalStorage
        RedisStorage RayStorage MPIStorage storage_from_url""",
    "evalpool.simulation": """simulate simulated SimulationResult ObjectiveFuncWrapper get_multiple_wrappers
        AbstractAskTellOptimizer
        ObjectiveFuncType""",
    "evalpool.benchmarks": "Benchmark Comparison Fidelity RuntimeModel SearchTimes Suite compare load plan",
    "evalpool.testing": "EvaluatorContract StorageContract",
}

HEAVY = ["ray", "mpi4py", "pandas", "matplotlib", "sklearn", "redis", "optuna", "IPython", "rich", "loky", "scipy"]
"""What a user who does not ask for it must not wait for."""


@pytest.mark.parametrize("room", ROOMS)
def test_each_name_that_a_room_offers_can_be_imported(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__all__
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(module, "no_such_name")  # noqa: B009  the interpreter's own way to ask


@pytest.mark.parametrize("room", ROOMS)
def test_a_star_import_gives_what_the_room_offers_and_no_more(room: str) -> None:
    found: dict[str, Any] = {}
    exec(f"from {room} import *", found)
    assert set(found) - {"__builtins__"} == set(importlib.import_module(room).__all__)


@pytest.mark.parametrize(("room", "name"), [(room, name) for room in CONTRACT for name in CONTRACT[room].split()])
def test_the_names_that_programs_rely_on_are_there(room: str, name: str) -> None:
    module = importlib.import_module(room)
    assert name in module.__all__
    assert getattr(module, name) is not None


def test_every_error_can_be_imported_from_the_top() -> None:
    assert set(evalpool.errors.__all__) <= set(evalpool.__all__)


def test_a_name_is_the_same_object_wherever_it_is_offered() -> None:
    homes: dict[str, Any] = {}
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in module.__all__:
            value = getattr(module, name)
            assert homes.setdefault(name, value) is value, name


def interpreter(code: str) -> str:
    """What a fresh interpreter prints."""
    root = str(Path(evalpool.__file__).parent.parent)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def loaded(code: str) -> set[str]:
    """The modules in a fresh interpreter after `code`."""
    return set(interpreter(f"{code}\nprint(*sys.modules)").split())


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import evalpool",
        "import evalpool; dir(evalpool), evalpool.__all__, evalpool.__version__, list(evalpool.EVALUATORS)",
        "from evalpool import Evaluator, ProcessPoolEvaluator, RunningJob, profile, queued",
        "from evalpool.callbacks import *",
        "from evalpool.storage import MemoryStorage, SQLiteStorage, JournalStorage",
        "from evalpool import Evaluator\n"
        "with Evaluator.create(lambda job: 1.0, 'thread') as e: e.submit([{}]); assert len(e.gather()) == 1",
    ],
)
def test_nothing_is_loaded_that_was_not_asked_for(code: str) -> None:
    assert loaded(code) & set(HEAVY) == set()


def test_importing_evalpool_loads_two_small_modules() -> None:
    found = loaded("import evalpool")
    assert {name for name in found if name.startswith("evalpool")} == {
        "evalpool",
        "evalpool._lazy",
        "evalpool._version",
    }
    assert found & {"numpy", "pydantic", "cloudpickle", "asyncio", "multiprocessing", "psutil", "tqdm"} == set()


def test_an_evaluator_without_a_store_loads_no_validators() -> None:
    """They take a quarter of a second, and the garbage collector walks through them."""
    code = "e = Evaluator.create(lambda job: 1.0, 'thread'); e.submit([{}]); e.gather(); e.close()"
    assert loaded(f"from evalpool import Evaluator\n{code}") & {"pydantic", "pydantic_core"} == set()


@pytest.mark.slow
def test_the_first_result_of_a_process_waits_for_no_import_that_it_does_not_need() -> None:
    """These take a fifth of the time until then."""
    code = (
        "from evalpool import Evaluator\ndef run(job): return 1.0\n"
        "e = Evaluator.create(run, 'process'); e.submit([{}]); e.gather(); e.close()"
    )
    found = loaded(code)
    for name in ("multiprocessing.connection", "tempfile", "random", "secrets", "hashlib", "pathlib", "urllib.parse"):
        assert name not in found


@pytest.mark.slow
def test_the_first_worker_process_starts_before_what_can_be_loaded_meanwhile() -> None:
    """Its interpreter takes as long to start as all this takes to load, and the two use different CPUs."""
    code = """
from evalpool import Evaluator
def run(job): return 1.0
def look(event, args):
    if event == "subprocess.Popen" and not found:
        found.append((args[0] == sys.executable, set(sys.modules)))
found = []
sys.addaudithook(look)
with Evaluator.create(run, "process") as e:
    e.submit([{}])
    e.gather()
(is_worker, modules), = found
print(is_worker, *modules & {"cloudpickle", "ctypes", "dataclasses", "inspect", "platform", "uuid"})
print(*{"cloudpickle", "ctypes"} - set(sys.modules))
"""
    assert interpreter(code).splitlines() == ["True", ""]


@pytest.mark.slow
def test_a_worker_process_loads_what_its_run_function_needs_and_little_else() -> None:
    def run(job: Any) -> Any:
        import sys

        return sorted(sys.modules)

    with Evaluator.create(run, "process", {"job_type": "task"}) as evaluator:
        evaluator.submit([{}])
        (job,) = evaluator.gather()
    found = set(job.output)
    assert found & {"numpy", "pydantic", "asyncio", "psutil", "tqdm", "multiprocessing", "hashlib", *HEAVY} == set()
    ours = {name for name in found if name.startswith("evalpool.")}
    assert "evalpool.evaluator._evaluator" not in ours
    assert "evalpool.storage" not in ours
    assert len(ours) <= 30, ours  # the call, the frames, what a script defines, guards, clocks; and the way of logs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "extra", "code"),
    [
        ("ray", "ray", "Evaluator.create(run, 'ray')"),
        ("mpi4py", "mpi", "Evaluator.create(run, 'mpi')"),
        ("redis", "redis", "from evalpool.storage import RedisStorage; RedisStorage()"),
        ("pandas", "pandas", "from evalpool.callbacks import ProfilingCallback; ProfilingCallback().to_dataframe()"),
        ("optuna", "optuna", "from evalpool import OptunaOptimizer; OptunaOptimizer(None, {'x': (0.0, 1.0)})"),
        ("matplotlib", "plot", "from evalpool.analysis import plot_objective_over_time; plot_objective_over_time([])"),
    ],
)
def test_a_missing_package_is_named_with_its_extra_when_it_is_needed(package: str, extra: str, code: str) -> None:
    said = interpreter(
        f"""
sys.modules[{package!r}] = None  # as if it were not installed
from evalpool import Evaluator
from evalpool.errors import MissingExtra
def run(job): ...
try:
    {code}
except MissingExtra as error:
    print(error)
"""
    )
    assert f'pip install "evalpool[{extra}]"' in said
