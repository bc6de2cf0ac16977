"""One Ray cluster for the tests of this folder, with what Ray itself leaves to be ignored."""

from __future__ import annotations

import contextlib
import os
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

# Ray takes the address by which other hosts reach this one, whatever it is told; without clusters it takes loopback.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

SMALL = {
    "object_store_memory": 200_000_000,
    "include_dashboard": False,
    "_node_ip_address": "127.0.0.1",
    "log_to_driver": False,
}
"""A Ray of this machine, as small as it gets."""

RAYS_OWN = (
    "ignore::ResourceWarning",  # Ray's subprocesses and log files, closed by the interpreter
    "ignore:.*Ray will no longer override accelerator.*:FutureWarning",
    "ignore::DeprecationWarning:ray.*",
)


THE_SAME_EVERYWHERE = {
    "test_a_batch_above_what_is_outstanding_is_reduced_with_a_warning",
    "test_a_callback_may_submit_and_gather",
    "test_a_callback_that_raises_is_logged_with_its_name_and_stops_nobody",
    "test_a_job_unpacks_into_its_configuration_and_objective",
    "test_a_result_object_is_neither_changed_nor_shared",
    "test_a_wrong_configuration_is_refused_before_anything_is_taken",
    "test_a_wrong_gather_loses_nothing",
    "test_an_exception_fails_its_own_job_with_its_traceback",
    "test_as_completed_ends_with_its_configurations",
    "test_async_functions_are_measured",
    "test_cancelled_jobs_are_heard_at_close",
    "test_every_invalid_form_fails_its_own_job_and_says_why",
    "test_every_valid_form_has_its_objective",
    "test_general_tasks_may_return_anything",
    "test_hooks_come_in_order_in_the_callers_thread",
    "test_on_error_raise_raises_after_everything_is_recorded",
    "test_seeds_depend_on_the_evaluators_seed_and_the_number_alone",
    "test_the_callers_dict_is_never_changed_nor_shared",
    "test_the_cap_on_submissions_takes_all_or_nothing",
    "test_the_running_job_is_a_mapping_over_the_configuration",
    "test_with_one_worker_resources_rotate",
}
"""What these tests see is done by the evaluator, or by the code that workers share with the process backend, where
they are run. A Ray worker takes a second or two to start, so here they are run with -m stress."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = os.path.dirname(__file__)
    # Those on the common cluster first, so that it is started once: a process can be in one only.
    ours = [item for item in items if str(item.path).startswith(here)]
    in_order = iter(sorted(ours, key=lambda item: "cluster" not in getattr(item, "fixturenames", ())))
    places = set(ours)
    items[:] = [next(in_order) if item in places else item for item in items]
    for item in items:
        if str(item.path).startswith(here):
            for line in RAYS_OWN:
                item.add_marker(pytest.mark.filterwarnings(line))
            if getattr(item, "originalname", "") in THE_SAME_EVERYWHERE:
                item.add_marker(pytest.mark.stress)


@contextlib.contextmanager
def own_sigterm() -> Iterator[None]:
    """Restore the handler of SIGTERM, which Ray and its nodes set to their own: what other tests fork would inherit it.

    Such a process, told to end as soon as it is forked, would not end: Python forgets in it what handlers are to be
    called.
    """
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def sigterm_is_given_back() -> Iterator[None]:
    with own_sigterm():
        yield


def start_ray(**kwargs: Any) -> Any:
    import ray

    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # or it writes a token into the home directory
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with own_sigterm():
            ray.init(**{**SMALL, **kwargs})
    return ray


@pytest.fixture
def small() -> dict[str, Any]:
    """`ray_kwargs` for an evaluator that starts Ray itself."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    return dict(SMALL)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes on this machine, to which others can be added."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    from ray.cluster_utils import Cluster

    memory = SMALL["object_store_memory"]
    head = {
        "num_cpus": 1,
        "object_store_memory": memory,
        # A node that has died is missed by five looks, one a second; Ray's own pace is 25 s.
        "_system_config": {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500},
    }
    with own_sigterm():
        made = Cluster(initialize_head=True, head_node_args=head)
        made.add_node(num_cpus=1, object_store_memory=memory)
    start_here(made.address)
    import ray

    yield made
    ray.shutdown()
    made.shutdown()


def start_here(address: str) -> None:
    import ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with own_sigterm():
            ray.init(address=address, log_to_driver=False)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A Ray that this process started and will stop, common to tests in a row: evaluators find it running."""
    start_common()
    import ray

    yield ray
    end_common()


@pytest.fixture(scope="module")
def fresh_cluster() -> None:
    """For tests that count free CPUs: Ray keeps, rarely, that of an actor which was killed while it started.

    So it does without evalpool, on a busy machine: actors that are made, and killed within a second or two.
    """
    end_common()
    start_common()


_common: list[Any] = []


def start_common() -> None:
    """Start the Ray of `cluster` unless it runs."""
    if not _common:
        _common.append(start_ray(num_cpus=6, resources={"licence": 2}))


def end_common() -> None:
    """Stop the Ray of `cluster`, so that a test can start another one."""
    while _common:
        _common.pop().shutdown()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """One Ray at a time, whatever the order of tests: before any fixture of a test, that of `cluster` runs or not."""
    if "cluster" in getattr(item, "fixturenames", ()):
        start_common()
    else:
        end_common()


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ray's daemons and idle processes stay; what evalpool starts beside them ends with `close`."""
    import threading
    import time

    yield
    deadline = time.monotonic() + 5.0
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("evalpool-")]
    for thread in ours:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert not [thread for thread in ours if thread.is_alive()]
