"""For how many jobs a report wakes the threads that wait: never for more than one of them needs."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evalpool.jobs._inbox import NOBODY, Inbox

STEPS = st.lists(st.tuples(st.sampled_from(["submit", "enter", "leave", "end", "take"]), st.integers(1, 5)))


@given(STEPS)
def test_no_thread_needs_fewer_jobs_than_a_report_wakes_for(steps: list[tuple[str, int]]) -> None:
    inbox: Any = Inbox()
    for step, number in steps:
        if step == "submit":
            inbox.outstanding += number
        elif step == "enter":
            inbox.enter(number)
        elif step == "leave" and inbox.waiting:
            inbox.leave(inbox.waiting[number % len(inbox.waiting)])
        elif step == "end" and len(inbox.done) < inbox.outstanding:
            inbox.done.append(object())
        elif step == "take":
            inbox.take()
        if inbox.waiting:
            assert inbox.want <= min(map(inbox.needed, inbox.waiting))
        else:
            assert inbox.want == NOBODY
