"""The state is the fold of the events, however they come."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalpool.errors import NewerSchema
from evalpool.outcomes import JobStatus
from evalpool.storage import Event
from evalpool.storage._fold import JobState, State, fold
from evalpool.storage._records import job_record

SEARCH = Event("search", "0", None, {"start": 1.0, "schema": 1})
OWNERS = st.sampled_from(["a", "b"])
FINAL = st.sampled_from(["DONE", "FAILED", "CANCELLED"])


def _event(kind: str, **data: Any) -> Event:
    return Event(kind, "0", 0, data)


JOB_EVENTS = st.one_of(
    st.builds(lambda owner: _event("created", args={"x": owner}, owner=owner), OWNERS),
    st.builds(lambda n: _event("started", attempt=n, start=float(n)), st.integers(1, 3)),
    st.builds(lambda n, owner: _event("queued", attempt=n, owner=owner), st.integers(2, 4), OWNERS),
    st.builds(
        lambda n, status, value: _event("finished", attempts=n, status=status, objective=value),
        st.integers(0, 4),
        FINAL,
        st.floats(0, 1),
    ),
    st.builds(
        lambda owner, value: _event("finished", owner=owner, status="DONE", objective=value),
        OWNERS,
        st.floats(0, 1),
    ),
    st.builds(lambda n: _event("recorded", budget=n, objective=[0.0, float(n)]), st.integers(1, 9)),
    st.builds(lambda status: _event("status", status=status.name), st.sampled_from(list(JobStatus))),
    st.builds(lambda value: _event("metadata", k=value), st.integers(0, 9)),
    st.builds(lambda value: _event("out", out=value), st.integers(0, 9)),
    st.builds(lambda value: _event("gathered", timestamp_gather=value), st.floats(0, 9)),
    st.builds(lambda value: Event("value", "0", None, {"k": value}), st.integers(0, 9)),
)


def _picture(state: State) -> Any:
    """Everything that anyone can see of a state, and what decides its future."""
    return {
        search_id: (
            search.start,
            search.values,
            sorted(search.unfinished),
            search.num_created,
            sorted(n for n, job in search.jobs.items() if job.is_final),
            {n: (_facts(job), job_record(search_id, job)) for n, job in search.jobs.items()},
        )
        for search_id, search in state.searches.items()
    }


def _facts(job: JobState) -> Any:
    return job.status, job.attempt, job.begun, job.owner


@given(st.lists(JOB_EVENTS, max_size=12), st.data())
def test_folding_in_pieces_is_folding_at_once(events: list[Event], data: st.DataObject) -> None:
    state = State()
    rest = events
    while rest:
        n = data.draw(st.integers(1, len(rest)))
        state.apply(rest[:n])
        rest = rest[n:]
    assert _picture(state) == _picture(fold(events))


@given(st.lists(JOB_EVENTS, max_size=12), st.randoms(use_true_random=False))
def test_events_with_a_place_fold_to_the_same_state_in_whatever_order_they_come(events: list[Event], rng: Any) -> None:
    placed = [event._replace(at=(clock, "w", 0)) for clock, event in enumerate([SEARCH, *events])]
    shuffled = placed[:]
    rng.shuffle(shuffled)
    assert _picture(fold(shuffled)) == _picture(fold(placed)) == _picture(fold([SEARCH, *events]))


@given(st.lists(JOB_EVENTS, max_size=12), st.data())
def test_events_with_a_place_may_come_twice(events: list[Event], data: st.DataObject) -> None:
    placed = [event._replace(at=(clock, "w", 0)) for clock, event in enumerate(events)]
    again = data.draw(st.lists(st.sampled_from(placed), max_size=5)) if placed else []
    assert _picture(fold([*placed, *again])) == _picture(fold(placed))


@given(
    st.lists(st.tuples(JOB_EVENTS, st.integers(0, 2)), max_size=12), st.randoms(use_true_random=False), st.booleans()
)
def test_created_jobs_are_counted_however_their_events_come(events: Any, rng: Any, placed: bool) -> None:
    moved = [event._replace(number=n) for event, n in events if event.number is not None]
    if placed:
        moved = [event._replace(at=(at, "w", at)) for at, event in enumerate(moved)]
        rng.shuffle(moved)
    state = fold([SEARCH, *moved])
    assert state.searches["0"].num_created == sum(job.created is not None for job in state.searches["0"].jobs.values())


@given(st.lists(JOB_EVENTS, max_size=12), st.data())
def test_of_events_without_a_place_all_but_measurements_may_be_repeated_at_once(
    events: list[Event], data: st.DataObject
) -> None:
    twice = [
        repeated
        for event in events
        for repeated in ([event] if event.kind == "recorded" or data.draw(st.booleans()) else [event, event])
    ]
    assert _picture(fold(twice)) == _picture(fold(events))


@given(st.lists(JOB_EVENTS, max_size=12))
def test_a_final_job_stays_final_and_is_listed_once(events: list[Event]) -> None:
    state = State()
    final: JobStatus | None = None
    for event in [SEARCH, _event("created", owner="a"), *events]:
        state.apply([event])
        search = state.searches["0"]
        job = search.jobs.get(0)
        if job is None:
            continue
        assert final is None or job.status is final
        final = job.status if job.is_final else None
        assert search.finished == ([0] if job.is_final else [])
        assert list(search.unfinished) == ([] if job.is_final else [0])


def test_an_end_that_turns_out_to_be_too_late_is_undone_and_listed_once() -> None:
    created = _event("created", owner="a")._replace(at=(1, "a", 0))
    queued = _event("queued", attempt=2, owner="b")._replace(at=(2, "b", 0))
    late = _event("finished", attempts=1, objective=1.0)._replace(at=(3, "a", 1))
    state = fold([created, late])
    assert state.searches["0"].jobs[0].is_final
    state.apply([queued])  # read late: the claim was first
    search = state.searches["0"]
    assert (search.jobs[0].status, search.jobs[0].owner) == (JobStatus.READY, "b")
    assert list(search.unfinished) == [0]
    state.apply([_event("finished", attempts=2, objective=2.0)._replace(at=(4, "b", 1))])
    assert search.jobs[0].result == {"attempts": 2, "objective": 2.0}
    assert (search.finished, list(search.unfinished)) == ([0], [])


def test_measurements_of_a_lost_attempt_are_dropped() -> None:
    state = fold(
        [
            _event("created", owner="a"),
            _event("recorded", budget=1, objective=0.1),
            _event("queued", attempt=2, owner="b"),
            _event("recorded", budget=2, objective=0.2, attempt=1),
            _event("recorded", budget=1, objective=0.3, attempt=2),
        ]
    )
    assert job_record("0", state.searches["0"].jobs[0]).recorded == [(1, 0.3)]


def test_an_owner_may_cancel_a_claimed_job_that_it_never_began() -> None:
    state = fold(
        [
            _event("created", owner="a"),
            _event("queued", attempt=2, owner="b"),
            _event("finished", status="CANCELLED", attempts=1, owner="b", objective="F_CANCELLED"),
        ]
    )
    assert state.searches["0"].jobs[0].status is JobStatus.CANCELLED


def test_a_search_of_a_later_schema_is_refused() -> None:
    with pytest.raises(NewerSchema, match="schema 99"):
        fold([Event("search", "0", None, {"start": 1.0, "schema": 99})])
