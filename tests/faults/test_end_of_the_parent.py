"""However the search's process ends: it ends at once, and leaves nothing, not even workers that C code keeps busy."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from faults.programs import Program

pytestmark = pytest.mark.slow

Start = Callable[..., Program]

SEARCH = """
    method, deed, end = sys.argv[1:4]
    run = culprits.mostly_harmless
    if "profile" in sys.argv:
        run = profile(memory=True)(run)
    evaluator = Evaluator.create(run, method, {"num_workers": 2})
    if deed == "idle":
        evaluator.submit([{"x": 1}] * 4)
        evaluator.gather()
    else:
        evaluator.submit([{"do": deed}] * 5)
    say("submitted")
    if end == "waits to be killed":
        evaluator.gather("ALL") if deed != "idle" else threading.Event().wait(60)
    while not os.path.exists("go on"):
        threading.Event().wait(0.005)
    if end == "os._exit":
        os._exit(3)
    if end == "sys.exit":
        sys.exit(3)
    if end == "raises":
        raise LookupError("the search's own fault")
"""


def begin(program: Start, method: str, deed: str, end: str, *more: str) -> Program:
    """Start a search; when this returns its jobs run, and all its processes are known."""
    search = program(SEARCH, method, deed, end, *more)
    search.expect("submitted")
    if deed != "idle":
        for _ in range(2):
            search.expect(f"begun {deed}")
            if deed.endswith("grandchild"):
                search.watch([int(search.expect("grandchild"))])
    search.tree()
    return search


@pytest.mark.parametrize(
    ("deed", "number"),
    [
        ("hog", signal.SIGTERM),
        ("hog", signal.SIGHUP),
        ("hog", signal.SIGKILL),
        ("idle", signal.SIGKILL),
        ("grandchild", signal.SIGKILL),
        ("ignore signals", signal.SIGKILL),
    ],
)
def test_workers_end_with_a_parent_that_is_killed(program: Start, deed: str, number: int) -> None:
    search = begin(program, "process", deed, "waits to be killed")
    search.kill(number)
    assert search.wait() == -number
    search.assert_nothing_is_left()


def test_grandchildren_in_sessions_of_their_own_end_with_a_parent_that_is_killed(program: Start) -> None:
    search = begin(program, "process", "detached grandchild", "waits to be killed")
    search.kill()
    assert search.wait() == -signal.SIGKILL
    search.assert_nothing_is_left()


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_helpers_that_measure_memory_end_with_a_parent_that_is_killed(program: Start, method: str) -> None:
    search = program(SEARCH, method, "hog", "waits to be killed", "profile")
    search.expect("submitted")
    search.expect("begun hog")
    search.tree()
    search.kill()
    assert search.wait() == -signal.SIGKILL
    search.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("end", "code", "deed"),
    [
        ("os._exit", 3, "hog"),
        ("sys.exit", 3, "hog"),
        ("raises", 1, "hang"),
        ("ends without close", 0, "hog"),
        ("ends without close", 0, "idle"),
    ],
)
def test_workers_end_with_a_parent_that_ends_by_itself(program: Start, end: str, code: int, deed: str) -> None:
    search = begin(program, "process", deed, end)
    (search.folder / "go on").touch()
    assert search.wait() == code
    search.assert_nothing_is_left()
    assert ("LookupError: the search's own fault" in search.stderr()) == (end == "raises")
    assert search.stderr().count("Traceback") == (end == "raises")


@pytest.mark.parametrize("end", ["raises", "ends without close"])
def test_a_thread_that_hangs_does_not_keep_the_interpreter(program: Start, end: str) -> None:
    search = begin(program, "thread", "hang", end)
    (search.folder / "go on").touch()
    assert search.wait() == (end == "raises")
    assert search.stderr().count("Traceback") == (end == "raises")


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_helpers_that_measure_memory_end_with_the_interpreter(program: Start, method: str) -> None:
    search = program(SEARCH, method, "idle", "ends without close", "profile")
    search.expect("submitted")
    assert [p for p in search.tree() if "_worker import main" in " ".join(p.cmdline())]
    (search.folder / "go on").touch()
    assert search.wait() == 0
    search.assert_nothing_is_left()
    assert search.stderr() == ""


@pytest.mark.parametrize("method", ["thread", "process"])
def test_a_handler_of_sigterm_may_close_the_evaluator(program: Start, method: str) -> None:
    search = program(
        """
        evaluator = Evaluator.create(culprits.mostly_harmless, sys.argv[1], {"num_workers": 2})
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(len(evaluator.close())))
        evaluator.submit([{"do": "cooperate"}] * 5)
        evaluator.gather()
        """,
        method,
    )
    search.expect("begun cooperate")
    search.tree()
    search.kill(signal.SIGTERM)
    assert search.wait() == 5
    search.assert_nothing_is_left()
    assert search.stderr() == ""


def test_the_searchs_exception_reaches_the_user_after_a_clean_close(program: Start) -> None:
    search = program(
        """
        with Evaluator.create(culprits.mostly_harmless, "process", {"num_workers": 2}) as evaluator:
            evaluator.submit([{"do": "hang"}] * 3)
            while not os.path.exists("go on"):
                threading.Event().wait(0.005)
            raise LookupError("the search's own fault")
        """
    )
    for _ in range(2):
        search.expect("begun")
    search.tree()
    (search.folder / "go on").touch()
    assert search.wait() == 1
    assert search.stderr().rstrip().endswith("LookupError: the search's own fault")
    assert search.stderr().count("Traceback") == 1
    search.assert_nothing_is_left()
