"""What simulated time must do, written a second time: slow, without heaps, by looking at everything each time.

`list_schedule` is the textbook's list scheduling: each job in turn goes to the worker that became idle first. It knows
no events at all. `RankedSchedule` has a queue that is not in the order of submission; it sorts all jobs anew for each
start. `replay` follows a search that asks and tells by asking, again and again, what of all that could happen comes
first. `mortal_queue` and `mortal_search` are the same for workers that start, crash and are taken away. None shares
code or structure with the kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

INF = math.inf


@dataclass
class Planned:
    """A job as a test draws it.

    Attributes:
        alone: whether it is a last chance, during which no other job runs.
        then: its next attempt; the present one fails.
    """

    runtime: Any
    failed: bool = False
    key: str | None = None
    fidelity: int | None = None
    priority: int = 0
    alone: bool = False
    then: Planned | None = None

    @property
    def seconds(self) -> float | None:
        """The runtime if it is valid, else None."""
        value = self.runtime
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < INF:
            return float(value)
        return None


@dataclass
class Row:
    """A job as it ran, in its last attempt."""

    number: int
    plan: Planned
    submit: float
    start: float
    worker: int
    charged: float = 0.0
    resumed: int | None = None
    failed: bool = False
    total: float = 0.0
    taken: bool = False
    told: bool = False
    begun: bool = True

    @property
    def end(self) -> float:
        return self.start + self.charged


@dataclass
class Rules:
    """The settings of a run."""

    workers: int
    sampling: str = "serial"
    tell: str = "asap"
    max_fidelity: int | None = None
    failure_runtime: float = 0.0
    job_timeout: float = INF
    max_evals: float = INF
    max_submits: float = INF
    max_time: float = INF


def execute(row: Row, others: list[Row], rules: Rules) -> None:
    """What a job that starts resumes, is charged, and becomes."""
    plan = row.plan
    left = [
        other
        for other in others
        if rules.max_fidelity is not None
        and other is not row
        and plan.key is not None
        and other.plan.key == plan.key
        and not other.failed
        and not other.taken
        and other.begun
        and other.plan.fidelity < plan.fidelity
        and other.plan.fidelity < rules.max_fidelity
        and other.end <= row.start
    ]
    resumed = max(left, key=lambda other: (other.plan.fidelity, -other.end, -other.number)) if left else None
    if resumed is not None:
        resumed.taken, row.resumed = True, resumed.plan.fidelity
    row.failed = plan.failed or plan.then is not None
    if plan.seconds is None:
        row.failed, row.charged = True, rules.failure_runtime
    else:
        row.total = plan.seconds
        row.charged = plan.seconds if resumed is None else max(0.0, plan.seconds - resumed.total)
    if row.charged > rules.job_timeout:
        row.failed, row.charged = True, rules.job_timeout


@dataclass
class ListSchedule:
    """Jobs in a queue for workers."""

    rules: Rules
    clock: float = 0.0
    rows: list[Row] = field(default_factory=list)

    def submit(self, plan: Planned) -> Row:
        """Each worker's last job says since when it is idle; first idle first served."""

        def idle_since(worker: int) -> tuple[float, int]:
            ran = [(row.end, row.number) for row in self.rows if row.worker == worker]
            return max(ran, key=lambda end: end[1]) if ran else (0.0, worker - self.rules.workers)

        worker = min(range(self.rules.workers), key=idle_since)
        start = max(self.clock, idle_since(worker)[0])
        row = Row(len(self.rows), plan, self.clock, start, worker)
        execute(row, self.rows, self.rules)
        self.rows.append(row)
        return row

    def _untold(self) -> list[Row]:
        return sorted((row for row in self.rows if not row.told), key=lambda row: (row.end, row.number))

    def gather(self, at_least: int) -> list[Row]:
        """Move the clock to the n-th end at least; take all that ended by then, in order."""
        untold = self._untold()
        if at_least:
            self.clock = max(self.clock, untold[at_least - 1].end)
        taken = [row for row in untold if row.end <= self.clock]
        for row in taken:
            row.told = True
        return taken

    def advance(self, seconds: float) -> None:
        self.clock += seconds


@dataclass
class RankedSchedule:
    """Jobs in a queue: the highest priority first; of equals those that are run again, then the order of submission.

    A last chance comes when nothing else runs or waits, and nothing starts beside it; one that is run again comes
    before the other last chances.
    """

    rules: Rules
    clock: float = 0.0
    rows: list[Row] = field(default_factory=list)
    again: set[int] = field(default_factory=set)
    idle_since: dict[int, int] = field(default_factory=dict)
    ends: int = 0

    def __post_init__(self) -> None:
        self.idle_since = {worker: worker - self.rules.workers for worker in range(self.rules.workers)}

    def submit(self, plans: list[Planned]) -> None:
        """All of them wait before the first starts."""
        for plan in plans:
            self.rows.append(Row(len(self.rows), plan, self.clock, math.nan, -1, begun=False))
        self._start_all()

    def _rank(self, row: Row) -> tuple[Any, ...]:
        priority = 0 if row.plan.alone else row.plan.priority
        return (row.plan.alone, -priority, row.number not in self.again, row.number)

    def _running(self) -> list[Row]:
        return [row for row in self.rows if row.begun and not row.told]

    def _start_all(self) -> None:
        while True:
            running = self._running()
            idle = set(self.idle_since) - {row.worker for row in running}
            waiting = sorted((row for row in self.rows if not row.begun), key=self._rank)
            if not idle or not waiting or any(row.plan.alone for row in running) or (waiting[0].plan.alone and running):
                return
            row = waiting[0]
            row.start, row.worker, row.begun = self.clock, min(idle, key=lambda worker: self.idle_since[worker]), True
            execute(row, self.rows, self.rules)

    def _to(self, time: float) -> list[Row]:
        """Let everything happen that happens by then, one end after the other."""
        taken = []
        while self._running():
            first = min(self._running(), key=lambda row: (row.end, row.number))
            if first.end > time:
                break
            self.clock = first.end
            self.idle_since[first.worker], self.ends = self.ends, self.ends + 1
            if first.plan.then is None:
                first.told = True
                taken.append(first)
            else:
                again = Row(first.number, first.plan.then, self.clock, math.nan, -1, begun=False)
                self.rows[first.number] = again
                self.again.add(first.number)
            self._start_all()
        return taken

    def gather(self, at_least: int) -> list[Row]:
        """Move the clock to the n-th end at least; take all that ended by then, in order."""
        taken: list[Row] = []
        while len(taken) < at_least:
            taken += self._to(min(row.end for row in self._running()))
        return taken + self._to(self.clock)

    def advance(self, seconds: float) -> list[Row]:
        """Let time pass; take what ends meanwhile."""
        target = self.clock + seconds
        taken = self._to(target)
        self.clock = target
        return taken


def replay(plans: list[Planned], overheads: list[float], rules: Rules) -> tuple[list[Row], list[int], str]:
    """A search that asks for one plan after the other and is told what ended.

    Returns:
        the rows, the numbers of what was told in that order, and which limit ended it.
    """
    rows: list[Row] = []
    told: list[int] = []
    idle_since: dict[int, tuple[float, int]] = {worker: (0.0, worker) for worker in range(rules.workers)}
    order = rules.workers
    decided = 0.0
    while True:
        if len(told) >= rules.max_evals:
            return rows, told, "max_evals"
        running = [row for row in rows if not row.told]
        to_begin = min((row for row in running if not row.begun), key=lambda row: (row.start, row.number), default=None)
        first = min(idle_since, key=lambda worker: idle_since[worker], default=None)
        decision = INF
        if first is not None and len(rows) < min(rules.max_submits, len(plans)):
            decision = idle_since[first][0]
            if rules.sampling == "serial":
                decision = max(decision, decided)
            if decision >= rules.max_time:
                decision = INF
        ends = sorted((row.end, row.number) for row in running if row.begun)
        # It begins when nothing earlier can happen any more.
        earlier = min([decision] + [end for end, _ in ends]) if rules.sampling == "parallel" else INF
        if to_begin is not None and to_begin.start <= min(rules.max_time, earlier):
            to_begin.begun = True
            execute(to_begin, rows, rules)
            continue
        may_tell = (
            rules.tell == "asap"
            or (rules.tell == "warmup" and len(rows) >= rules.workers)
            or (rules.tell == "fill" and decision == INF)
        )
        ended = [number for end, number in ends if end <= decision and end <= rules.max_time]
        if ended and (may_tell or decision == INF):
            row = rows[ended[0]]
            row.told = True
            told.append(row.number)
            idle_since[row.worker] = (row.end, order)
            order += 1
            continue
        if decision == INF:
            drained = len(rows) >= rules.max_submits and not running
            return rows, told, "max_submits" if drained else "max_time"
        assert first is not None
        start = decision + overheads[len(rows)]
        decided = start
        del idle_since[first]
        row = Row(len(rows), plans[len(rows)], start, start, first)
        if rules.sampling == "parallel" and rules.max_fidelity is not None:
            row.begun = False
        else:
            execute(row, rows, rules)
        rows.append(row)


@dataclass
class Trained:
    """A job with a learning curve, as a test draws it.

    Attributes:
        total: its runtime from scratch.
        points: budgets and the runtimes from scratch up to them, in order.
    """

    total: float
    points: list[tuple[int, float]]
    key: str | None = None
    fidelity: int | None = None


@dataclass
class Shown:
    """A job with a learning curve as it ran: what it showed, and when."""

    number: int
    plan: Trained
    worker: int
    start: float
    before: float = 0.0
    resumed: int | None = None
    shown: list[tuple[int, float]] = field(default_factory=list)
    stopped: float | None = None
    told: bool = False
    taken: bool = False

    @property
    def end(self) -> float:
        whole = self.start + max(0.0, self.plan.total - self.before)
        return whole if self.stopped is None else self.stopped

    def next_point(self) -> tuple[float, int] | None:
        """When the next point comes that it makes itself, and its budget."""
        own = [point for point in self.plan.points if self.resumed is None or point[0] > self.resumed]
        if len(self.shown) == len(own):
            return None
        budget, seconds = own[len(self.shown)]
        return self.start + max(0.0, seconds - self.before), budget


def train(plans: list[Trained], workers: int, stops: Any, max_fidelity: int | None = None) -> list[Shown]:
    """Jobs in a queue, and a rule that ends them: ``stops(number, budget)`` is asked at each point, in order of time.

    Of what comes at the same time, that of the smaller number is first; of one job, its point is before its end.
    """
    rows: list[Shown] = []
    idle = list(range(workers))
    clock = 0.0
    while True:
        while idle and len(rows) < len(plans):
            row = Shown(len(rows), plans[len(rows)], idle[0], clock)
            left = [
                other
                for other in rows
                if max_fidelity is not None
                and other.stopped is None
                and other.end <= clock
                and not other.taken
                and other.plan.key == row.plan.key
                and other.plan.fidelity < min(row.plan.fidelity, max_fidelity)
            ]
            if any(other.next_point() is not None for other in left):
                break  # it ends now, and may be stopped at a last point
            if left:
                best = max(left, key=lambda other: (other.plan.fidelity, -other.end, -other.number))
                best.taken, row.resumed, row.before = True, best.plan.fidelity, best.plan.total
            idle.pop(0)
            rows.append(row)
        events = []
        for row in rows:
            if not row.told:
                point = row.next_point() if row.stopped is None else None
                events.append((row.end, row.number, 1, 0) if point is None else (point[0], row.number, 0, point[1]))
        if not events:
            return rows
        clock, number, is_end, budget = min(events)
        row = rows[number]
        if is_end:
            row.told = True
            idle.append(row.worker)
            continue
        row.shown.append((budget, clock))
        if stops(number, budget) and (clock < row.end or row.next_point() is not None):
            row.stopped = clock


@dataclass
class Life:
    """A worker as it is now: which of its lives this is, since when it is there, and until when."""

    number: int
    life: int
    since: float
    until: float
    place: tuple[int, int]
    """What orders workers that are idle since the same time: (0, n) after the n-th end, (1, worker) after a start."""


@dataclass
class Mortals:
    """Workers that start, crash and are taken away; all of them are looked at whenever anything happens."""

    rules: Rules
    model: Any
    retries: int = 0
    idle: list[Life] = field(default_factory=list)
    lost: dict[int, int] = field(default_factory=dict)  # job -> attempts that were lost
    ends: int = 0

    def __post_init__(self) -> None:
        self.idle = [self.born(worker, 0, 0.0) for worker in range(self.rules.workers)]

    def _drawn(self, what: str, worker: int, life: int, missing: float) -> float:
        found = getattr(self.model, what)
        return missing if found is None else found.draw(what, worker, life)

    def born(self, worker: int, life: int, at: float) -> Life:
        since = at + self._drawn("start_delay", worker, life, 0.0)
        return Life(worker, life, since, since + self._drawn("preempted_after", worker, life, INF), (1, worker))

    def next_life(self, one: Life) -> Life:
        away = self._drawn("away", one.number, one.life, 0.0)
        return self.born(one.number, one.life + 1, one.until + away)

    def at(self, one: Life, time: float) -> Life:
        """The worker at a time, or as it is when it is there for the first time after that."""
        while one.until <= max(one.since, time):
            one = self.next_life(one)
        return one

    def first(self, time: float) -> tuple[float, Life] | None:
        """Which idle worker gets a job at a time, and when: at once, or when the first is there."""
        found = sorted((self.at(one, time) for one in self.idle), key=lambda one: (one.since, one.place))
        return (max(time, found[0].since), found[0]) if found else None

    def take(self, one: Life) -> None:
        self.idle = [other for other in self.idle if other.number != one.number]

    def run(self, row: Row, one: Life) -> tuple[str | None, Life]:
        """Set how long a job that starts runs; return how it is lost, and the worker."""
        execute(row, [], self.rules)
        runtime = self.rules.failure_runtime if row.plan.seconds is None else row.plan.seconds
        share = self.model.crashes_at(row.number, self.lost.get(row.number, 0))
        how = None
        if share is not None and share * runtime <= row.charged:
            how, row.charged = "crash", share * runtime
        if one.until < row.start + row.charged and one.until - row.start < row.charged:
            how, row.charged = "taken", one.until - row.start
        row.failed = row.failed or how is not None
        return how, one

    def ended(self, row: Row, how: str | None, one: Life) -> bool:
        """The worker of a job that ends is idle, or born again; return whether the job is run again."""
        self.ends += 1
        if how is None:
            self.idle.append(Life(one.number, one.life, row.end, one.until, (0, self.ends)))
            return False
        self.idle.append(self.next_life(one) if how == "taken" else self.born(one.number, one.life + 1, row.end))
        self.lost[row.number] = self.lost.get(row.number, 0) + 1
        return self.lost[row.number] <= self.retries


def mortal_queue(script: list[tuple[float, list[Planned]]], mortals: Mortals) -> tuple[list[Row], list[int]]:
    """Jobs that come at given times, later ones last; those that are run again come first. All of them end."""
    rows: list[Row] = []
    waiting: list[Row] = []
    again: list[Row] = []
    running: dict[int, tuple[Row, str | None, Life]] = {}
    done: list[int] = []
    clock, script = 0.0, list(script)
    while script or waiting or again or running:
        for queue in (again, waiting):
            queue.sort(key=lambda row: row.number)
        found = mortals.first(clock)
        next_end = min(((row.end, row.number) for row, *_ in running.values()), default=(INF, -1))
        if found is not None and (again or waiting):
            when, one = found
            if when <= clock:
                row = (again or waiting).pop(0)
                row.start, row.worker = clock, one.number
                mortals.take(one)
                running[row.number] = (row, *mortals.run(row, one))
                continue
        else:
            when = INF
        coming = script[0][0] if script else INF
        clock = min(next_end[0], when, coming)
        if next_end[0] == clock:
            row, how, one = running.pop(next_end[1])
            if mortals.ended(row, how, one):
                fresh = Row(row.number, row.plan, clock, math.nan, -1)
                rows[row.number] = fresh
                again.append(fresh)
            else:
                done.append(row.number)
        elif when != clock:
            for planned in script.pop(0)[1]:
                waiting.append(Row(len(rows), planned, clock, math.nan, -1))
                rows.append(waiting[-1])
    return rows, done


def mortal_search(plans: list[Planned], overheads: list[float], mortals: Mortals) -> tuple[list[Row], list[int], str]:
    """A search that asks for one plan after the other, whenever a worker is there and no job waits to be run again."""
    rules = mortals.rules
    rows: list[Row] = []
    again: list[Row] = []
    running: dict[int, tuple[Row, str | None, Life]] = {}
    told: list[int] = []
    clock = decided = 0.0
    limit = min(rules.max_submits, len(plans))
    while len(told) < rules.max_evals:
        next_end = min(((row.end, row.number) for row, *_ in running.values()), default=(INF, -1))
        when = INF
        if again:
            found = mortals.first(clock)
        else:
            found = mortals.first(max(clock, decided)) if len(rows) < limit else None
        if found is not None:
            when, one = found
        due = when < next_end[0] or (again and when <= clock)  # at each event, what can start does, before the next
        if due and (when <= rules.max_time if again else when < rules.max_time):
            clock = max(clock, when)
            mortals.take(one)
            if again:
                row = again.pop(0)
                row.start = clock
            else:
                start = clock + overheads[len(rows)]
                if rules.sampling == "serial":
                    decided = start
                one = mortals.at(one, start)
                start = max(start, one.since)
                row = Row(len(rows), plans[len(rows)], start, start, -1)
                rows.append(row)
            row.worker = one.number
            running[row.number] = (row, *mortals.run(row, one))
        elif next_end[0] <= rules.max_time and running:
            clock = max(clock, next_end[0])
            row, how, one = running.pop(next_end[1])
            if mortals.ended(row, how, one):
                rows[row.number] = Row(row.number, row.plan, clock, math.nan, -1)
                again.append(rows[row.number])
                again.sort(key=lambda row: row.number)
            else:
                told.append(row.number)
        else:
            drained = len(rows) >= rules.max_submits and not running and not again
            return rows, told, "max_submits" if drained else "max_time"
    return rows, told, "max_evals"
