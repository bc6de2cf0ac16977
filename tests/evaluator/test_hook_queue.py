"""Each hook that is due is called once, in order, whatever a callback raises and wherever an interrupt strikes."""

from __future__ import annotations

import contextlib
import logging
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from evalpool import BadArgument, Evaluator, optimize
from evalpool._interrupts import defer_signals, install, uninstall
from evalpool.callbacks import Callback
from evalpool.evaluator._hook_queue import HookQueue
from faults.lines import interrupt_at


class Told(Callback):
    """Notes what it is told; raises what it is told to, once."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.raises: BaseException | None = None

    def hear(self, *facts: Any) -> None:
        self.heard.append(facts)
        error, self.raises = self.raises, None
        if error is not None:
            raise error

    def on_record(self, job: Any, budget: float, objective: Any) -> None:
        self.hear("record", job, budget, objective)

    def on_done(self, job: Any) -> None:
        self.hear("done", job)

    def on_gather(self, jobs: list[Any], other_jobs: list[Any]) -> None:
        self.hear("gather", jobs, other_jobs)


def test_only_what_somebody_implements_is_queued() -> None:
    told, own = Told(), Callback()
    own.on_launch = told.hear  # type: ignore[method-assign]  # of this object alone
    queue = HookQueue([told, own, Callback()])
    assert queue.on_done == [told]
    assert queue.on_launch == [own]
    queue.notice("on_start", 1)
    queue.add("on_done_other", 1)
    assert not queue.on_start
    assert not queue.notices
    assert not queue.due
    queue.call("on_launch", "job")
    assert told.heard == [("job",)]


def test_hooks_are_called_in_the_order_in_which_they_became_due() -> None:
    one, other = Told(), Told()
    queue = HookQueue([one, other])
    queue.add_each("on_done", [1, 2])
    queue.add("on_gather", [1, 2], [])
    queue.notice("on_record", 1, 0.5, 3.0)
    assert one.heard == []
    queue.deliver_notices()
    queue.deliver()
    queue.deliver()
    assert one.heard == other.heard == [("record", 1, 0.5, 3.0), ("done", 1), ("done", 2), ("gather", [1, 2], [])]


def test_a_callback_that_raises_is_logged_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    one, other = Told(), Told()
    queue = HookQueue([one, other])
    one.raises = ValueError("wrong")
    with caplog.at_level(logging.ERROR, logger="evalpool"):
        queue.add("on_done", 1)
        queue.deliver()
    assert one.heard == other.heard == [("done", 1)]
    assert [record.getMessage() for record in caplog.records] == ["Told.on_done raised; the search goes on."]


def test_what_an_interrupt_in_a_hook_leaves_uncalled_is_called_next_time() -> None:
    one, two, three = Told(), Told(), Told()
    queue = HookQueue([one, two, three])
    queue.add_each("on_done", [1, 2])
    two.raises = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        queue.deliver()
    assert (one.heard, two.heard, three.heard) == ([("done", 1)], [("done", 1)], [])
    queue.deliver()
    assert one.heard == two.heard == three.heard == [("done", 1), ("done", 2)]


def test_a_callback_that_can_go_on_where_it_was_interrupted_is_called_again() -> None:
    told = Told()
    told._repeats = True
    queue = HookQueue([told])
    queue.add("on_done", 1)
    told.raises = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        queue.deliver()
    queue.deliver()
    assert told.heard == [("done", 1), ("done", 1)]


@pytest.mark.parametrize("repeats", [False, True])
def test_a_signal_that_was_noted_before_a_hook_takes_it_from_nobody(repeats: bool) -> None:
    class Repeating(Told):
        _repeats = repeats

    assert install()
    try:
        one, other = Repeating(), Told()
        queue = HookQueue([one, other])
        queue.add("on_done", 1)
        with contextlib.suppress(KeyboardInterrupt), defer_signals():
            signal.raise_signal(signal.SIGINT)
            queue.deliver()
            pytest.fail("it was not raised where signals are allowed")
        assert one.heard == []
        queue.deliver()
        assert one.heard == other.heard == [("done", 1)]
    finally:
        uninstall()


def test_each_hook_is_called_once_wherever_an_interrupt_strikes_a_callback() -> None:
    which, struck = 0, True
    while struck:
        one, other = Told(), Told()
        queue = HookQueue([one, other])
        queue.add_each("on_done", [1, 2])
        with interrupt_at(which, Told.hear) as line, contextlib.suppress(KeyboardInterrupt):
            queue.deliver()
        queue.deliver()
        for told in (one, other):
            assert told.heard == sorted(set(told.heard)), line.struck
        missing = 4 - len(one.heard) - len(other.heard)
        assert missing <= (line.struck is not None), line.struck  # the interrupted one had its call
        struck = line.struck is not None
        which += 1
    assert which > 10


def test_a_forked_child_tells_nobody() -> None:
    told = Told()
    queue = HookQueue([told])
    queue.add("on_done", 1)
    queue.notice("on_record", 1, 0.5, 3.0)
    queue.forget()
    queue.deliver_notices()
    queue.deliver()
    assert told.heard == []


def test_any_object_with_some_of_the_hooks_is_a_callback() -> None:
    class Duck:
        __slots__ = ("heard",)

        def __init__(self) -> None:
            self.heard: list[Any] = []

        def on_done(self, job: Any) -> None:
            self.heard.append(job.objective)

        def on_close(self) -> None:
            self.heard.append("closed")

    duck, later = Duck(), SimpleNamespace(on_done=lambda job: None, search_stopped=False)
    with Evaluator.create(lambda job: job["x"], "serial", {"callbacks": [duck, later]}) as evaluator:
        later.on_done = lambda job: setattr(later, "search_stopped", job.objective > 2)
        found = optimize(evaluator, Counting())
    assert duck.heard == [1, 2, 3, "closed"]
    assert [job.objective for job in found] == [1, 2, 3]


class Counting:
    """Proposes 1, 2, 3 and so on."""

    x = 0

    def ask(self) -> dict[str, int]:
        self.x += 1
        return {"x": self.x}

    def tell(self, job: Any) -> None: ...


@pytest.mark.parametrize(
    ("callback", "words"), [(object(), "without any hook.*on_done"), (Callback, "the class Callback; give an object")]
)
def test_what_hears_nothing_is_no_callback(callback: Any, words: str) -> None:
    with pytest.raises(BadArgument, match=words):
        Evaluator.create(lambda job: 1, "serial", {"callbacks": [callback]})
