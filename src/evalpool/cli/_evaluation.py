"""What ``run`` and ``retry`` share: an evaluator made from the options, its results, its progress, its exit code."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from evalpool._text import LONGEST_LINE
from evalpool.callbacks import Callback, CSVLoggerCallback
from evalpool.callbacks._incumbent import is_evaluation
from evalpool.cli._campaign import Campaign, Watcher
from evalpool.cli._exit_codes import FAILED, INCOMPLETE, NO_RESULT
from evalpool.cli._export import check_out, export
from evalpool.cli._lines import fact, say
from evalpool.cli._listed import SharedList
from evalpool.cli._prints import stdout_on_stderr
from evalpool.cli._streams import complete_streams
from evalpool.cli._summary import print_summary
from evalpool.cli._words import clean, paint, write_json
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.jobs._job import Job
    from evalpool.storage import Storage

__all__ = ["Evaluation", "StopAfterFailures", "check_results", "clean_end", "separate_output"]


class _Shown(Callback):
    """Tells the evaluator not to log failures: the view and the summary show them."""

    tells_failures = True


class StopAfterFailures(Callback):
    """Ends a run whose first evaluations all failed: later ones would fail, too.

    Results of earlier runs and of other programs do not count: the function may have been corrected since.

    Args:
        most: the number of failures after which it ends.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._succeeded = False
        self.failures = 0
        self.search_stopped = False

    def on_done(self, job: Job[Any]) -> None:
        if self._succeeded or self.search_stopped or not is_evaluation(job) or job.metadata.get("restored"):
            return
        if job.kind is None:
            self._succeeded = True
            return
        self.failures += 1
        self.search_stopped = self.failures >= self._most


def check_results(arguments: argparse.Namespace) -> None:
    """Raise `BadArgument` if the results could not be written, before anything is evaluated."""
    if arguments.out:
        check_out(arguments.out)


def separate_output(arguments: argparse.Namespace) -> contextlib.AbstractContextManager[TextIO]:
    """Inside the block, what run-functions print is kept out of the JSON; yields the file for the JSON."""
    return stdout_on_stderr() if arguments.json else contextlib.nullcontext(sys.stdout)


@contextlib.contextmanager
def clean_end() -> Iterator[None]:
    """Inside the block, SIGTERM ends the search in order; see `evalpool.stops_on_sigterm`."""
    from evalpool.batch._deadline import stops_on_sigterm

    with stops_on_sigterm():
        yield


class Evaluation:
    """One use of an evaluator, made from the options.

    Raises:
        BadArgument: an option has a wrong value.
        EvalpoolError: the backend does not work here.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        function: Callable[..., Any],
        storage: Storage | None,
        search_id: str | None,
        out: TextIO,
    ) -> None:
        from evalpool.evaluator._evaluator import Evaluator

        self._arguments, self._out = arguments, out
        callbacks: list[Any] = []
        self._stop = StopAfterFailures(arguments.max_failures) if arguments.max_failures is not None else None
        if self._stop is not None:
            callbacks.append(self._stop)
        if arguments.log_level is None:
            callbacks.append(_Shown())
        self._table = CSVLoggerCallback(arguments.out) if _is_csv(arguments.out) else None
        if self._table is not None:
            callbacks.append(self._table)
        options: dict[str, Any] = {
            "storage": storage,
            "search_id": search_id,
            "callbacks": callbacks,
            "job_timeout": arguments.job_timeout,
            "retries": arguments.retries,
            "seed": getattr(arguments, "seed", None),
        }
        if arguments.num_workers is not None:
            options["num_workers"] = arguments.num_workers
        if arguments.backend == "executor":
            raise BadArgument("--backend executor needs an executor of your program; use this backend from Python.")
        self.evaluator: Evaluator = Evaluator.create(function, arguments.backend, options)

    def run(self, optimizer: Any, max_evals: int | None, *, before: int = 0) -> int:
        """Evaluate what the optimiser asks for, and print the summary; returns the exit code.

        Args:
            max_evals: how many evaluations there will be, restored ones included; None: until the time limit.
            before: how many earlier evaluations of the search are not among these.
        """
        from evalpool.search._optimize import optimize

        evaluator = self.evaluator
        if max_evals is not None:
            evaluator.storage.store_search_value(evaluator.search_id, "max_evals", before + max_evals)
        jobs = []
        try:
            with (
                self._progress(),
                self._marked_as_ended(),
                evaluator,
            ):  # workers end before the view that shows what they print
                if max_evals != 0:
                    jobs = optimize(evaluator, optimizer, max_evals, self._arguments.timeout)
                if isinstance(optimizer, SharedList):
                    jobs += self._evaluate_missing(optimizer)
                    max_evals = evaluator.num_jobs_submitted + len(optimizer.missing)
        except KeyboardInterrupt:
            self._conclude()
            raise
        kept = self._conclude()
        if self._stop is not None and self._stop.search_stopped:
            sys.stderr.write(
                f"evalpool: ended early: the first {self._stop.failures} evaluations all failed (--max-failures "
                f"{self._arguments.max_failures}). Correct what the failures above say, then run it again.\n"
            )
            return NO_RESULT if kept else FAILED
        if not kept:
            return FAILED
        if max_evals is not None and len(jobs) < max_evals:
            return INCOMPLETE
        return NO_RESULT if jobs and all(job.kind is not None for job in jobs) else 0

    def _evaluate_missing(self, shared: SharedList) -> list[Job[Any]]:
        """Evaluate the configurations that are left after another program took some of ours, until none is left."""
        from evalpool.search._optimize import optimize

        jobs: list[Job[Any]] = []
        while shared.must_look_again and self.evaluator.time_left != 0:
            shared.look()
            if not shared.missing:
                break
            jobs += optimize(self.evaluator, shared, len(shared.missing), self._arguments.timeout)
        return jobs

    def _conclude(self) -> bool:
        """Write the results and print the summary, after the evaluator is closed; False if --out lacks results."""
        evaluator = self.evaluator
        evaluator.storage.flush()
        complete_streams()
        missing = self._write_results()
        watcher = Watcher(evaluator.storage)
        watcher.look()
        self._print_summary(watcher.campaigns[evaluator.search_id], missing)
        if missing:
            sys.stderr.write(f"evalpool: {clean(missing, LONGEST_LINE)}. {self._where_results_are()}\n")
        return not missing

    def _write_results(self) -> str:
        """Write what --out names (a CSV file is written already); returns what is missing, or an empty text."""
        table, out = self._table, self._arguments.out
        if table is not None:
            total = table.written + table.missing
            return f"{table.missing} of {total} rows are missing in {table.path}" if table.missing else ""
        if out:
            try:
                export(self.evaluator.storage, self.evaluator.search_id, out)
            except (OSError, BadArgument) as error:  # a full disk, a directory that was removed meanwhile
                return f"the results could not be written: {str(error).rstrip('.')}"
        return ""

    def _where_results_are(self) -> str:
        """Where those results are that --out lacks. Without a store they are written into a new directory."""
        store = _store_of(self._arguments)
        if store:
            command = shlex.join(["evalpool", "export", store, "--search-id", self.evaluator.search_id, "-o", "FILE"])
            return f"The store has all of them: {clean(command, LONGEST_LINE)}"
        directory = ""
        try:
            directory = tempfile.mkdtemp(prefix="evalpool-")
            place = os.path.join(directory, os.path.basename(self._arguments.out))
            export(self.evaluator.storage, self.evaluator.search_id, place)
        except (OSError, BadArgument) as error:
            with contextlib.suppress(OSError):
                os.rmdir(directory)
            return f"They are lost, for they could not be written elsewhere, either: {clean(str(error), LONGEST_LINE)}"
        return f"All results were written to {clean(place, LONGEST_LINE)}"

    @contextlib.contextmanager
    def _marked_as_ended(self) -> Iterator[None]:
        """Give a search in memory a lease that has ended: without one its state would be `waiting`, not `ended`."""
        try:
            yield
        finally:
            if not _store_of(self._arguments):
                self.evaluator.storage.lease(self.evaluator.search_id, "evalpool run", 0.0)

    @contextlib.contextmanager
    def _progress(self) -> Iterator[None]:
        if self._arguments.progress == "off":
            yield
            return
        from evalpool.cli._watch import LiveView

        plain = {"auto": None, "live": False, "lines": True}[self._arguments.progress]
        evaluator = self.evaluator
        with LiveView(evaluator.storage, evaluator.search_id, plain=plain, file=sys.stderr):
            yield

    def _print_summary(self, campaign: Campaign, missing: str) -> None:
        arguments = self._arguments
        summary = campaign.summary()
        summary["out"] = os.path.abspath(arguments.out) if arguments.out else None
        if arguments.json:
            write_json(summary, self._out)
            return
        say(paint(f"search {clean(campaign.search_id)}", "bold"))
        print_summary(summary)
        for name, place in (("storage", _store_of(arguments)), ("table", missing or summary["out"])):
            if place:
                fact(name, place)


def _is_csv(out: str | None) -> bool:
    return out is not None and out.lower().endswith(".csv")


def _store_of(arguments: argparse.Namespace) -> str | None:
    """The storage that outlives the command, if it has one: an option of `run`, an argument of `retry`."""
    return getattr(arguments, "storage", None) or getattr(arguments, "store", None)
