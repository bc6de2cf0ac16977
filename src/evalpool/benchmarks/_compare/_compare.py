"""`compare`: searches on benchmarks with several numbers of workers, as a campaign on an evaluator."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from evalpool._checks import check_number, check_numbers, check_real, check_seconds, is_whole
from evalpool._text import shown
from evalpool.benchmarks._benchmark import Benchmark
from evalpool.benchmarks._compare._cells import (
    Cell,
    CellRunner,
    Conditions,
    Limits,
    check_benchmark,
    identity_of,
    reason_of,
)
from evalpool.benchmarks._compare._comparison import Comparison
from evalpool.benchmarks._searches import check_search
from evalpool.benchmarks._stoppers import check_stopper
from evalpool.benchmarks._suites import load
from evalpool.errors import BadArgument, UnknownValue
from evalpool.evaluator import _settings
from evalpool.evaluator._evaluator import Evaluator
from evalpool.evaluator._registry import EVALUATORS
from evalpool.outcomes import JobStatus, last_line
from evalpool.search._optimize import _announce
from evalpool.simulation._worker_model import WorkerModel, check_worker_model
from evalpool.storage._base import Storage
from evalpool.storage._registry import storage_from_url

if TYPE_CHECKING:
    from evalpool.models import JobRecord

__all__ = ["compare"]

KEY = "comparison"
"""The value of a search in a storage that says that it is a comparison, with which limits and names."""
ORIGIN = {"function": "evalpool compare"}
"""The value ``origin`` of the search, so that `evalpool run --resume` refuses to add other jobs to it."""
_ENDED_WITHOUT = (JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.CANCELLING)


def compare(
    searches: Any,
    benchmarks: Any,
    workers: int | Iterable[int] = (1, 8, 64, 512),
    seeds: int | Iterable[int] = 10,
    budget: int | None = None,
    *,
    max_time: float | None = None,
    overhead: float = 0.0,
    worker_model: WorkerModel | None = None,
    retries: int = 0,
    stopper: Any = None,
    evaluator: str | type[Evaluator] = "serial",
    num_workers: int | None = None,
    storage: Storage | str | None = None,
    options: dict[str, Any] | None = None,
) -> Comparison:
    """Run each search on each benchmark with each number of virtual workers and each seed, in simulated time.

    Each such cell is a job of an evaluator, so that cells run in parallel on any backend, and are kept in a storage. A
    comparison in a storage goes on where it was: cells that have a result there are not run again, and further
    searches, benchmarks, workers or seeds are added. Cells that failed are run again.

    A cell has the same result on every backend and in every order: the seed of its search derives from the names of
    search and benchmark and the seed's number, that of its jobs from the benchmark's name and the seed's number. So
    with the same seed a search begins alike with any number of workers.

    >>> comparison = compare(["random"], ["digits"], workers=[1, 8], seeds=2, budget=20)
    >>> comparison
    <Comparison of 1 searches on 1 benchmarks: 4 cells>
    >>> comparison.cells[0], comparison.digest(comparison.cells[0])
    (Cell(search='random', benchmark='digits', workers=1, seed=0), '5f8fe0fdeb17d62984217c293e360061')

    Args:
        searches: names, as ``["random", "tpe", "nevergrad:DE", "mine.py:make"]``; or a dict from a label to such a name
            or to a function ``make(space, seed)``, or ``make(benchmark, seed)``, which returns an optimiser for
            `simulate`, or a tuple of it and a dict with further arguments of `simulate`. It is told ``num_workers`` and
            ``max_evals``, too, if it has parameters of these names.
        benchmarks: names, as for `load`, or benchmarks; or a dict from a label to one of these. Each has runtimes and
            one objective.
        workers: numbers of virtual workers.
        seeds: how many, from 0 on; or the seeds.
        budget: evaluations in each cell, failures and lower fidelities included.
        max_time: virtual seconds of each cell. One of both must be given.
        overhead: virtual seconds of each decision.
        worker_model: how the virtual workers start, crash and are taken away; None: they are there from 0 on for ever.
            The same in each cell, since its draws depend on its own seeds alone; unless a search has one of its own.
        retries: how often an evaluation is run again that raised or whose virtual worker was lost.
        stopper: ends evaluations early, on benchmarks with learning curves: ``"median"``, ``"halving"`` or
            ``"hyperband"``, from the lowest fidelity to the highest; or a function ``make(benchmark)`` that returns a
            stopper, or its name, ``"mine.py:make"``. It makes a new one for each cell. An evaluation that was stopped
            counts as one, and is never the best.
        evaluator: the method's name or the class of what runs the cells: ``"process"``, ``"ray"``, ``"mpi"``.
        num_workers: how many cells run at a time; -1 for one per CPU.
        storage: where the comparison is kept, or its URL. A label must not name something else than before there, nor
            may `worker_model`, `retries` and `stopper` be others.
        options: further arguments of the evaluator, as ``{"job_timeout": 3600.0, "retries": 1}``, where retries are
            those of cells.

    Returns:
        the results. A cell that fails does not end the others: `Comparison.errors` says which failed, and why; so does
        a cell whose evaluations all failed. On ranks of MPI other than the root, which serve until the end, it has no
        cells.

    Raises:
        BadArgument: an argument has a wrong type or value, a name is unknown (the message lists the known ones), a
            named search can search none of the benchmarks, a function cannot be called with space and seed, or a
            benchmark has no runtimes, or none of the learning curves that a stopper needs.
        MissingExtra: the package of a search or a benchmark is not installed.
    """
    conditions = Conditions(
        check_worker_model(worker_model), check_number("retries", retries, 0), check_stopper(stopper)
    )
    named, problems = _check_both(searches, benchmarks, conditions)
    counts = check_numbers("workers", workers, 1)
    chosen = list(range(check_number("seeds", seeds, 1))) if is_whole(seeds) else check_numbers("seeds", seeds, 0)
    limits = Limits(
        None if budget is None else check_number("budget", budget, 1),
        check_seconds("max_time", max_time),
        check_real("overhead", overhead, least=0),
    )
    if limits.budget is None and limits.max_time is None:
        raise BadArgument("Nothing would end a cell: give budget, in evaluations, or max_time, in virtual seconds.")
    cells = [Cell(search, benchmark, count, seed)
             for benchmark, search, count, seed in itertools.product(problems, named, counts, chosen)]  # fmt: skip
    cls = EVALUATORS[evaluator] if isinstance(evaluator, str) else evaluator
    if not (isinstance(cls, type) and issubclass(cls, Evaluator)):
        raise BadArgument(f"evaluator is {evaluator!r}; give a method's name such as 'process', or an evaluator class.")
    arguments = _settings.check_kwargs(options, "options")
    _settings.check_keywords(cls, arguments)
    if num_workers is not None:
        arguments["num_workers"] = num_workers
    what = {
        "limits": limits._asdict(),
        "conditions": conditions.texts(),
        "searches": {label: identity_of(one) for label, one in named.items()},
        "benchmarks": {label: identity_of(one) for label, one in problems.items()},
    }
    empty = Comparison(list(named), list(problems), counts, chosen, limits, {}, {}, conditions=conditions)
    with contextlib.ExitStack() as stack:
        if isinstance(storage, str):
            storage = stack.enter_context(storage_from_url(storage))
        if isinstance(storage, Storage) and not storage.keeps:
            raise BadArgument(f"storage is {storage!r}, which keeps no result of a cell; give another, or None.")
        search_id = _known(storage, what) if isinstance(storage, Storage) else None
        runner = CellRunner(named, problems, limits, conditions)
        own = stack.enter_context(
            cls(runner, **{"job_type": "task", "storage": storage, "search_id": search_id, **arguments})
        )
        if not own.is_master:
            return empty
        own.storage.store_search_value(own.search_id, KEY, what)
        own.storage.store_search_value(own.search_id, "origin", ORIGIN)
        own.resume()
        before = own.storage.records(own.search_id)
        begun = {cell for one in before if (cell := _cell_of(one)) is not None and not _failed(one)}
        new = [cell._asdict() for cell in cells if cell not in begun]
        _announce(own, len(before) + len(new))
        own.submit(new)
        own.gather("ALL")
        own.storage.flush()
        records = own.storage.records(own.search_id)
    return _filled(empty, cells, records)


def _filled(empty: Comparison, cells: list[Cell], records: list[JobRecord]) -> Comparison:
    """The same comparison with the results of cells."""
    latest: dict[Cell, JobRecord] = {}  # of several, those before the last one failed
    for record in records:
        cell = _cell_of(record)
        if cell is not None and (cell not in latest or _failed(latest[cell])):
            latest[cell] = record
    found = [(cell, latest[cell]) for cell in cells if cell in latest]
    outcomes = {cell: record.output for cell, record in found if record.status is JobStatus.DONE}
    failed = {
        cell: last_line(record.error) if record.error else f"it is {record.status.value}"
        for cell, record in found
        if record.status in _ENDED_WITHOUT
    }
    missing = [cell for cell in cells if cell not in outcomes and cell not in failed]
    return Comparison(
        empty.searches, empty.benchmarks, empty.workers, empty.seeds, empty.limits, outcomes, failed, missing,
        conditions=empty.conditions,
    )  # fmt: skip


def _failed(record: JobRecord) -> bool:
    """Whether a cell has ended without a result, so that it is run again."""
    if record.status is JobStatus.DONE:
        return reason_of(record.output) is not None
    return record.status in _ENDED_WITHOUT


def _cell_of(record: JobRecord) -> Cell | None:
    """The cell of a job; None of one that another program added to the search."""
    names = record.configuration.keys()
    return Cell(**record.configuration) if names == set(Cell._fields) else None


def _known(storage: Storage, what: dict[str, Any]) -> str | None:
    """The latest comparison of a storage with the same limits; None if there is none.

    `what` gets the names that the earlier one has.
    """
    for search_id in reversed(storage.load_all_search_ids()):
        try:
            known = storage.load_search_value(search_id, KEY)
        except UnknownValue:
            continue
        if known["limits"] != what["limits"]:
            continue
        for name, value in what["conditions"].items():
            if known["conditions"][name] != value:
                raise BadArgument(
                    f"{name} is {value}, and was {known['conditions'][name]} in the comparison of the storage (search "
                    f"{search_id}); its cells would not be comparable: give the same, or another storage."
                )
        for kind in ("searches", "benchmarks"):
            for label, identity in known[kind].items():
                if what[kind].setdefault(label, identity) != identity:
                    raise BadArgument(
                        f"{label!r} of {kind} is {what[kind][label]}, and was {identity} in the comparison of the "
                        f"storage (search {search_id}); give it another label, or another storage."
                    )
        return search_id
    return None


def _labelled(what: str, given: Any, single: tuple[type, ...]) -> dict[str, Any]:
    """Label -> what was given for it; of a list, the names are the labels."""
    if isinstance(given, single):
        given = [given]
    if not isinstance(given, Mapping):
        if not isinstance(given, Iterable):
            raise BadArgument(f"{what} is {given!r} of type {type(given).__name__}; give a list or a dict.")
        given = list(given)
        labels = [one if isinstance(one, str) else getattr(one, "name", None) for one in given]
        for label, one in zip(labels, given, strict=True):
            if not isinstance(label, str):
                raise BadArgument(f"{what} has {shown(one)}, which has no name; give a dict: {{'mine': ...}}.")
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise BadArgument(f"{what} has {twice[0]!r} twice; give a dict with a label for each.")
        given = dict(zip(labels, given, strict=True))
    if not given or not all(isinstance(label, str) and label for label in given):
        raise BadArgument(f"{what} is {given!r}; give at least one, with a text as its label.")
    return dict(given)


def _check_both(searches: Any, benchmarks: Any, conditions: Conditions) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was given for each label; the tables that are read for the check are not held while the cells run."""
    problems, loaded = _check_benchmarks(benchmarks, conditions)
    named = _labelled("searches", searches, (str,))
    return {label: check_search(label, one, loaded) for label, one in named.items()}, problems


def _check_benchmarks(benchmarks: Any, conditions: Conditions) -> tuple[dict[str, Any], list[Benchmark]]:
    """What was given for each label, and the benchmarks that these are."""
    found = []
    named = _labelled("benchmarks", benchmarks, (str, Benchmark))
    for label, one in named.items():
        loaded = load(one) if isinstance(one, str) else one
        if not isinstance(loaded, Benchmark):
            raise BadArgument(
                f"The benchmark {label!r} is {shown(one)} of type {type(one).__name__}; give its name or a Benchmark, "
                "such as Benchmark.from_table(table, objectives='loss', runtime='seconds')."
            )
        check_benchmark(label, loaded, conditions)
        found.append(loaded)
    return named, found
