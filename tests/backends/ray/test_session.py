"""Starting, finding and stopping Ray; what cannot be is said at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from evalpool import BackendError, BadArgument, Evaluator, RayEvaluator, RunningJob
from evalpool.errors import StorageUnavailable
from evalpool.storage import RayStorage


def double(job: RunningJob) -> float:
    return 2.0 * job["x"]


@pytest.mark.slow
def test_the_last_evaluator_stops_the_ray_that_the_first_one_started(small: dict[str, Any]) -> None:
    import ray

    assert not ray.is_initialized()
    first = RayEvaluator(double, num_workers=1, num_cpus=2, ray_kwargs=small)
    with pytest.raises(BadArgument, match="No node"):
        RayEvaluator(double, num_gpus_per_task=1)
    with RayStorage() as storage, RayEvaluator(double, num_workers=1, num_cpus=2, storage=storage) as second:
        second.submit([{"x": 1}])
        assert first.close() == []
        assert [job.objective for job in second.gather()] == [2.0]
        assert ray.is_initialized()
    assert not ray.is_initialized()


def environment(job: RunningJob) -> Any:
    return {"objective": 1.0, "output": (os.environ.get("OF_THIS_EVALUATOR"), os.environ.get("PMIX_RANK"))}


@pytest.mark.slow
def test_an_evaluator_made_in_a_thread_lives_on_after_it_and_others_choose_their_runtime_env(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the program is a rank of MPI, which Ray's workers are not."""
    monkeypatch.setenv("PMIX_RANK", "0")
    made: list[RayEvaluator] = []

    def make() -> None:
        made.append(RayEvaluator(double, num_workers=1, num_cpus=2, ray_kwargs=small))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    daemons = [p for p in psutil.Process().children(recursive=True) if p.name() in ("gcs_server", "raylet")]
    with made[0] as first:
        first.submit([{"x": 1}])
        assert [job.objective for job in first.gather()] == [2.0]
        own = {"runtime_env": {"env_vars": {"OF_THIS_EVALUATOR": "yes"}}}
        with RayEvaluator(environment, num_workers=1, ray_kwargs=own) as second:
            second.submit([{}])
            assert [job.output["output"] for job in second.gather()] == [("yes", None)]
        assert os.environ["PMIX_RANK"] == "0"
        with pytest.raises(BadArgument, match="only supported at the job level"):
            RayEvaluator(double, num_workers=1, ray_kwargs={"runtime_env": {"working_dir": str(tmp_path)}})
        assert len(daemons) == 2
        assert all(daemon.status() != psutil.STATUS_ZOMBIE for daemon in daemons)


@pytest.mark.slow
def test_a_cluster_that_asks_for_a_token_is_named_as_the_cause(tmp_path: Path) -> None:
    """As where a user has a token from elsewhere, and a job script starts Ray and then the search."""
    (tmp_path / "token").write_text("0123456789abcdef0123456789abcdef")
    with_token = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token"),
        "RAY_NUM_REDIS_GET_RETRIES": "1",
    }
    without = {name: value for name, value in with_token.items() if name != "RAY_AUTH_MODE"}
    head = "import ray; ray.init(address='local', num_cpus=1, include_dashboard=False, log_to_driver=False); "
    head += "print(ray.get_runtime_context().gcs_address, flush=True); input()"
    program = "import sys; from evalpool import RayEvaluator; RayEvaluator(abs, num_workers=1, address=sys.argv[1])"
    with subprocess.Popen(
        [sys.executable, "-c", head],
        env=with_token,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as cluster:
        assert cluster.stdout is not None
        assert cluster.stdin is not None
        address = cluster.stdout.readline().strip()
        command = [sys.executable, "-c", program, address]
        asked = [
            subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
            for env in (without, with_token)
        ]
        cluster.stdin.write("\n")
        cluster.stdin.flush()
    assert "asks for a token" in asked[0].stderr
    assert "Set RAY_AUTH_MODE=token" in asked[0].stderr
    assert asked[1].returncode == 0


@pytest.mark.slow
def test_a_ray_that_the_user_shuts_down_fails_what_runs_and_is_not_started_again(small: dict[str, Any]) -> None:
    import ray

    ray.init(num_cpus=1, **small)
    storage = RayStorage()
    with RayEvaluator(double) as evaluator:
        evaluator.submit([{"x": 1}])
        assert [job.objective for job in evaluator.gather()] == [2.0]
        ray.shutdown()
        evaluator.submit([{"x": 1}, {"x": 2}])
        assert {job.objective for job in evaluator.gather()} == {"F_worker_died"}
    with pytest.raises(StorageUnavailable, match="this process belongs to no cluster"):
        storage.create_new_search()
    storage.close()
    assert not ray.is_initialized()


@pytest.mark.slow
def test_the_programs_handler_of_sigterm_is_there_again_when_ray_has_stopped(small: dict[str, Any]) -> None:
    """Ray's would be inherited by processes that the program forks, which a pool of processes then cannot end."""

    def own(number: int, frame: Any) -> None:
        raise AssertionError

    before = signal.getsignal(signal.SIGTERM)
    with RayEvaluator(double, num_workers=1, ray_kwargs=small) as evaluator:
        evaluator.submit([{"x": 1}])
        assert [job.objective for job in evaluator.gather()] == [2.0]
    assert signal.getsignal(signal.SIGTERM) == before
    with RayEvaluator(double, num_workers=1, ray_kwargs=small):
        signal.signal(signal.SIGTERM, own)
    try:
        assert signal.getsignal(signal.SIGTERM) == own
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("address", ["127.0.0.1:{free}", "ray://127.0.0.1:{free}"])
def test_a_cluster_that_is_not_there_is_an_error_at_once(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    with pytest.raises(BackendError, match="ray start --head"):
        RayEvaluator(double, address=address.format(free=free))
    with pytest.raises(BackendError, match="ray start --head"):
        RayStorage(address.format(free=free))


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"num_workers": 0}, "num_workers is 0"),
        ({"num_workers": "4"}, "'4'"),
        ({"num_cpus_per_task": -1}, "num_cpus_per_task is -1"),
        ({"num_gpus_per_task": 1.5}, "whole units"),
        ({"resources_per_task": ["licence"]}, "resources_per_task is"),
        ({"resources_per_task": {"GPU": 1}}, "num_gpus_per_task"),
        ({"resources_per_task": {"object_store_memory": 1}}, "which Ray gives to no worker"),
        ({"resources_per_task": {3: 1}}, "resources_per_task has 3"),
        ({"resources_per_task": {"memory": -1}}, r"\['memory'\] is -1"),
        ({"resources_per_task": {"memory": 1}, "memory_per_task": 1}, "give one"),
        ({"memory_per_task": "1 GB"}, "memory_per_task is '1 GB'"),
        ({"ray_kwargs": "runtime_env"}, "ray_kwargs is 'runtime_env'"),
        ({"address": 6379}, "address is 6379"),
    ],
)
def test_wrong_arguments_are_refused_before_ray_is_started(kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(BadArgument, match=said):
        Evaluator.create(double, "ray", kwargs)
    import ray

    assert not ray.is_initialized()


def test_importing_evalpool_does_not_import_ray_and_its_absence_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('no ray here')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import evalpool, evalpool.storage; "
        "assert 'ray' not in sys.modules; from evalpool import RayEvaluator\n"
        "try: RayEvaluator(print)\n"
        "except evalpool.MissingExtra as error: print(error)\n"
        "try: evalpool.storage.RayStorage()\n"
        "except evalpool.MissingExtra as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.count('pip install "evalpool[ray]"') == 2
