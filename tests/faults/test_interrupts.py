"""Ctrl-C: gather raises at once, what had finished is kept, the program ends, nothing is left of it."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable

import pytest

from faults.programs import EXIT, Program, wait_until

pytestmark = pytest.mark.slow

Start = Callable[..., Program]

SEARCH = """
    from evalpool.callbacks import CSVLoggerCallback

    method, form = sys.argv[1:3]
    run = culprits.mostly_harmless_async if form == "async" else culprits.mostly_harmless
    kwargs = {"num_workers": 2, "callbacks": [CSVLoggerCallback("results.csv")]}
    if form == "beside":
        kwargs["job_timeout"] = 50.0
    with Evaluator.create(run, method, kwargs) as evaluator:
        jobs = evaluator.submit([{"x": n} for n in range(4)])
        first = evaluator.gather("BATCH", 2)
        jobs += evaluator.submit([{"do": "hang"}, {"do": "hang"}, {"x": 6}])
        try:
            say("gathering")
            evaluator.gather("ALL")
        except KeyboardInterrupt:
            say("interrupted")
        else:
            say("not interrupted")
        second = []
        while not {0, 1, 2, 3} <= {job.number for job in first + second}:
            more = evaluator.gather("BATCH", 1, timeout=10)
            if not more:
                break
            second += more
        say("kept", sorted(job.number for job in first + second if job.error is None))
        assert len({job.number for job in first + second}) == len(first + second)
    say("closed", len(evaluator.gather()), sorted(job.status.value for job in jobs))
"""


@pytest.mark.parametrize("who", ["the program", "the whole group"])
@pytest.mark.parametrize(
    ("method", "form"),
    [("serial", "plain"), ("serial", "async"), ("serial", "beside"), ("thread", "plain"), ("process", "plain")],
)
def test_ctrl_c_in_gather_keeps_what_had_finished(program: Start, method: str, form: str, who: str) -> None:
    search = program(SEARCH, method, form)
    search.expect("gathering")
    for _ in range(1 if method == "serial" else 2):  # a slow worker may begin with its first job after another's hang
        search.expect("begun hang")
    search.tree()
    search.kill(signal.SIGINT) if who == "the program" else search.interrupt()
    search.expect("interrupted", EXIT)
    kept = search.expect("kept", EXIT)
    assert kept in ("[0, 1, 2, 3]", "[0, 1, 2, 3, 6]")
    search.expect("closed", EXIT)
    assert search.wait() == 0
    search.assert_nothing_is_left()
    assert "Traceback" not in search.stderr()
    assert "Exception ignored" not in search.stderr()
    with (search.folder / "results.csv").open() as file:
        rows = [row["job_id"] for row in csv.DictReader(file)]
    assert sorted(rows) == ["0", "1", "2", "3", "4", "5", "6"]  # each once, also those that were cancelled at last


TWICE = """
    evaluator = Evaluator.create(culprits.mostly_harmless, sys.argv[1], {"num_workers": 2})
    try:
        with evaluator:
            evaluator.submit([{"do": sys.argv[2]}] * 3)
            say("gathering")
            evaluator.gather("ALL")
    finally:
        say("on the way out")
"""


@pytest.mark.parametrize("pause", ["at once", "while closing"])
@pytest.mark.parametrize(("method", "deed"), [("serial", "hang"), ("thread", "hang"), ("process", "hog")])
def test_a_second_ctrl_c_only_hastens_the_end(program: Start, method: str, deed: str, pause: str) -> None:
    search = program(TWICE, method, deed)
    search.expect("gathering")
    search.expect("begun")
    search.tree()
    search.interrupt()
    if pause == "while closing":
        with contextlib.suppress(AssertionError):
            search.expect("never said", 0.1)
    with contextlib.suppress(ProcessLookupError):
        search.interrupt()
    code = search.wait()
    assert code in (1, -signal.SIGINT, 128 + signal.SIGINT)
    assert "KeyboardInterrupt" in search.stderr()
    search.assert_nothing_is_left()


STORM = """
    import random

    method, where, seed, name = sys.argv[1:]
    signal_sent = getattr(signal, name)

    class Struck(KeyboardInterrupt if name == "SIGINT" else Exception):
        pass

    rng = random.Random(int(seed))
    evaluator = Evaluator.create(culprits.mostly_harmless, method, {"num_workers": 2})
    calm, interrupts, end = threading.Event(), 0, time.monotonic() + 8

    def storm():
        while interrupts < 150 and time.monotonic() < end and not calm.wait(rng.random() * 0.003):
            os.kill(os.getpid(), signal_sent)

    def on_interrupt(number, frame):
        # Only amidst a call of the evaluator: what a caller does with jobs that it has got is the caller's.
        global interrupts
        frame = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_name in where.split() and "evalpool" in frame.f_code.co_filename:
                interrupts += 1
                raise Struck
            frame = frame.f_back

    evaluator.submit([{"x": -1}])
    evaluator.gather()
    signal.signal(signal_sent, on_interrupt)  # while it is open
    thread = threading.Thread(target=storm)
    thread.start()
    lost, twice = 0, 0
    while thread.is_alive() and not lost:
        wanted = set()
        try:
            wanted = {job.number for job in evaluator.submit([{"x": n} for n in range(40)])}
        except Struck:
            pass
        while True:
            try:
                numbers = [job.number for job in evaluator.gather("BATCH", 5, timeout=2)]
            except Struck:
                continue
            if not numbers:
                break
            twice += len(numbers) - len(set(numbers))
            if "submit" not in where:
                twice += len(set(numbers) - wanted)
            wanted -= set(numbers)
        lost += len(wanted)
    calm.set()
    thread.join()
    signal.signal(signal_sent, signal.SIG_IGN)
    say("lost", lost, "twice", twice)
    say("outstanding", evaluator.num_jobs_submitted - evaluator.num_jobs_gathered)
    evaluator.close()
    say("closed after", interrupts, "interrupts")
"""


@pytest.mark.xfail(
    sys.version_info < (3, 11), reason="documented: it handles signals where functions return", strict=False
)
@pytest.mark.parametrize(
    ("method", "name"),
    [("serial", "SIGINT"), ("thread", "SIGINT"), ("process", "SIGINT"), ("thread", "SIGALRM"), ("process", "SIGUSR1")],
)
def test_interrupts_at_any_moment_of_gather_lose_no_job_and_give_none_twice(
    program: Start, method: str, name: str
) -> None:
    search = program(STORM, method, "gather", 1, name, environment={"PYTHONWARNINGS": "ignore"})
    assert search.expect("lost") == "0 twice 0"
    assert search.expect("outstanding") == "0"
    search.expect("closed after")
    assert search.wait() == 0
    assert "Traceback" not in search.stderr()


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_interrupts_at_any_moment_of_a_search_leave_an_evaluator_that_closes(program: Start, method: str) -> None:
    search = program(STORM, method, "submit gather", 2, "SIGINT", environment={"PYTHONWARNINGS": "ignore"})
    search.expect("lost")
    search.expect("closed after")
    assert search.wait() == 0


ON_A_TERMINAL = """
    from evalpool.callbacks import TqdmCallback

    kwargs = {"num_workers": 2, "callbacks": [TqdmCallback()]}
    with Evaluator.create(culprits.mostly_harmless, sys.argv[1], kwargs) as evaluator:
        evaluator.submit([{"x": n} for n in range(5)])
        evaluator.gather()
        evaluator.submit([{"do": "hang"}])
        evaluator.gather()
"""


@pytest.mark.parametrize("method", ["thread", "process"])
def test_ctrl_c_in_a_terminal_leaves_it_sane(program: Start, method: str) -> None:
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 100, 0, 0))
    try:
        before = termios.tcgetattr(its)
        search = program(ON_A_TERMINAL, method, terminal=its)
        shown = bytearray()
        wait_until(lambda: b"begun hang" in _read(ours, shown))
        search.tree()
        os.write(ours, b"\x03")  # the terminal's own Ctrl-C, for its foreground group
        wait_until(lambda: (_read(ours, shown), search.process.poll() is not None)[1], EXIT)
        _read(ours, shown)
        assert search.wait() in (1, -signal.SIGINT, 128 + signal.SIGINT)
        assert b"KeyboardInterrupt" in shown
        assert b"job/s" in shown  # there was a bar
        assert shown.endswith(b"\n")  # the shell's prompt begins a line
        assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h")  # a cursor that was hidden is shown again
        assert termios.tcgetattr(its) == before
        search.assert_nothing_is_left()
    finally:
        os.close(ours)
        os.close(its)


def _read(terminal: int, shown: bytearray) -> bytearray:
    """Append what the terminal shows by now."""
    os.set_blocking(terminal, False)
    with contextlib.suppress(BlockingIOError):
        while data := os.read(terminal, 4096):
            shown += data
    return shown


HANDLERS = """
    def theirs(number, frame):
        say("theirs")

    def run(job):
        return 1.0

    def use(evaluator):
        evaluator.submit([{}] * 3)
        assert len(evaluator.gather()) == 3

    for handler in (signal.default_int_handler, theirs, signal.SIG_IGN, signal.SIG_DFL):
        signal.signal(signal.SIGINT, handler)
        with Evaluator.create(run, sys.argv[1]) as one:
            use(one)
        assert signal.getsignal(signal.SIGINT) is handler
        one, other = Evaluator.create(run, sys.argv[1]), Evaluator.create(run, sys.argv[1])
        use(one), use(other)
        one.close()
        use(other)
        other.close()
        assert signal.getsignal(signal.SIGINT) is handler

    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Evaluator.create(run, sys.argv[1]) as evaluator:
        use(evaluator)
        signal.signal(signal.SIGINT, theirs)  # set while an evaluator is open: the last word is theirs
        use(evaluator)
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is theirs
    say("done")
"""


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_the_users_own_handler_is_called_and_has_its_place_back(program: Start, method: str) -> None:
    search = program(HANDLERS, method)
    search.expect("theirs")
    search.expect("done")
    assert search.wait() == 0
    assert search.stderr() == ""


def test_a_search_in_a_thread_is_interrupted_by_its_own_program(program: Start) -> None:
    search = program(
        """
        stopped = threading.Event()

        def search():
            with Evaluator.create(culprits.mostly_harmless, "process", {"num_workers": 2}) as evaluator:
                evaluator.submit([{"do": "cooperate"}] * 2)
                say("submitted")
                while not stopped.is_set():
                    evaluator.gather("ALL", timeout=0.05)
            say("closed")

        thread = threading.Thread(target=search)
        thread.start()
        try:
            thread.join()
        except KeyboardInterrupt:
            stopped.set()
            thread.join()
            say("interrupted")
        """
    )
    search.expect("submitted")
    search.expect("begun cooperate")
    search.tree()
    search.kill(signal.SIGINT)
    search.expect("closed", EXIT)
    search.expect("interrupted", EXIT)
    assert search.wait() == 0
    search.assert_nothing_is_left()


@pytest.mark.parametrize("method", ["thread", "process"])
def test_ctrl_c_in_an_async_search_raises_and_the_results_stay(program: Start, method: str) -> None:
    search = program(
        """
        import asyncio
        evaluator = Evaluator.create(culprits.mostly_harmless, sys.argv[1], {"num_workers": 1})

        async def search():
            evaluator.submit([{"x": 1}, {"do": "cooperate"}])
            return await evaluator.agather("ALL")

        try:
            asyncio.run(search())
        except KeyboardInterrupt:
            say("interrupted")
        say("kept", [job.objective for job in evaluator.gather("BATCH", 1)])
        evaluator.close()
        """,
        method,
    )
    search.expect("begun cooperate")
    search.tree()
    search.kill(signal.SIGINT)
    search.expect("interrupted", EXIT)
    assert search.expect("kept", EXIT) == "[10.0]"
    assert search.wait() == 0
    search.assert_nothing_is_left()
    assert "Traceback" not in search.stderr()


def test_a_forked_child_hears_its_own_ctrl_c(program: Start) -> None:
    # Forked by another thread while the main thread may be anywhere in gather.
    search = program(
        """
        evaluator = Evaluator.create(culprits.mostly_harmless, "process", {"num_workers": 2})

        def fork():
            for _ in range(20):
                pid = os.fork()
                if pid == 0:
                    try:
                        os.kill(os.getpid(), signal.SIGINT)
                        for _ in range(100):
                            threading.Event().wait(0.01)
                    except KeyboardInterrupt:
                        os._exit(5)
                    os._exit(0)
                codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

        codes = []
        thread = threading.Thread(target=fork)
        thread.start()
        while thread.is_alive():
            evaluator.submit([{"x": n} for n in range(20)])
            evaluator.gather()
        evaluator.close()
        say("codes", set(codes))
        """,
        environment={"PYTHONWARNINGS": "ignore::DeprecationWarning"},  # of forks in threads, from 3.12 on
    )
    assert search.expect("codes") == "{5}"
    assert search.wait() == 0


ASYNCIO = """
import asyncio, signal
from evalpool import RandomSearch, SerialEvaluator, simulate
async def leave_one_open():
    evaluator = SerialEvaluator(lambda job: 1.0)
    evaluator.submit([{}])
    evaluator.gather()
    return evaluator
asyncio.run(leave_one_open()).close()  # asyncio's handler of SIGINT is what stood before ours
def interrupted(job):
    signal.raise_signal(signal.SIGINT)
try:
    print(simulate(RandomSearch({"x": [1]}), interrupted, max_evals=1))
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_by_asyncios_handler_is_one_too() -> None:
    said = subprocess.run([sys.executable, "-c", ASYNCIO], capture_output=True, text=True, timeout=60, check=False)
    assert said.stdout == "interrupted\n", said.stderr
