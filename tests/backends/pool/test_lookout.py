"""A worker of short jobs looks for the next ones for a moment before it sleeps, where that helps."""

from __future__ import annotations

import itertools

import pytest

from evalpool.backends._pool import _worker
from evalpool.backends._pool._worker import AWAKE, OTHERS, SELDOM, Lookout


class World:
    """A clock that each look at the socket moves on, and a socket that is ready at a given look."""

    def __init__(self) -> None:
        self.now, self.looks, self.ready_at = 0.0, 0, 0

    def time(self) -> float:
        return self.now

    def is_ready(self) -> bool:
        self.looks += 1
        self.now += AWAKE / 10
        return self.looks >= self.ready_at


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(_worker, "monotonic", world.time)
    return world


def looks_of(world: World, lookout: Lookout, ready_at: int, took: float = 0.0) -> int:
    """How often it looks in one turn, if there is something to read at that look."""
    world.looks, world.ready_at = 0, ready_at
    lookout.look(world.now - took)
    return world.looks


def test_it_looks_until_the_next_jobs_are_there(world: World) -> None:
    lookout = Lookout(world.is_ready)
    assert [looks_of(world, lookout, ready_at) for ready_at in (5, 1, 7, 1)] == [5, 1, 7, 1]


def test_it_does_not_look_after_jobs_beside_which_a_sleep_is_short(world: World) -> None:
    lookout = Lookout(world.is_ready)
    assert looks_of(world, lookout, 5, took=2 * AWAKE) == 0
    assert looks_of(world, lookout, 5) == 5


def test_where_it_does_not_help_it_looks_ever_less_often_and_until_it_helps_again(world: World) -> None:
    lookout, never = Lookout(world.is_ready), 1000
    looked = [turn for turn in range(1500) if looks_of(world, lookout, never)]
    between = [after - before - 1 for before, after in itertools.pairwise(looked)]
    assert between[:9] == [1, 3, 7, 15, 31, 63, 127, SELDOM, SELDOM]
    assert all(looks_of(world, lookout, never) <= 12 for _ in range(SELDOM))
    while not looks_of(world, lookout, 3):
        pass
    assert [looks_of(world, lookout, 3) for _ in range(4)] == [3] * 4


def test_what_is_there_at_the_first_look_does_not_show_that_looking_helps(world: World) -> None:
    lookout = Lookout(world.is_ready)
    for _ in range(20):
        looks_of(world, lookout, 1000)
    while not looks_of(world, lookout, 1):
        pass
    assert looks_of(world, lookout, 1000) > 0
    assert sum(looks_of(world, lookout, 1000) > 0 for _ in range(10)) == 0


def test_it_does_not_look_where_another_process_needs_the_cpu(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lookout = Lookout(world.is_ready)

    def run_another() -> None:
        world.now += OTHERS

    monkeypatch.setattr(_worker, "_let_others_run", run_another)
    assert [looks_of(world, lookout, 5) for _ in range(8)] == [1, 0, 1, 0, 0, 0, 1, 0]
