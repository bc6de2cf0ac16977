"""``evalpool retry``: failed jobs are run again, in the same search."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING, TextIO

from evalpool._functions import load_function
from evalpool._text import LONGEST_LINE
from evalpool.cli._options import add_execution, add_results, add_store, add_tag
from evalpool.cli._origin import check_origin, function_of
from evalpool.cli._words import clean, write_json
from evalpool.errors import BadArgument
from evalpool.jobs._options import submission
from evalpool.outcomes import JobStatus

if TYPE_CHECKING:
    from collections.abc import Hashable

    from evalpool.cli._listed import Given
    from evalpool.models import JobRecord
    from evalpool.storage import Storage

__all__ = ["HELP", "SUMMARY", "add_options", "main"]


SUMMARY = "Run failed jobs again."
HELP = """\
Run the failed (or cancelled) jobs of a search again, as new jobs of the same search. A configuration that a later job
evaluated, or will evaluate, is left out; one that failed several times runs once. Of several programs that retry at
the same time each runs other ones.

You must name the run-function again: a storage holds data, and nothing in it is ever executed. If the search was
begun by `evalpool run` and you leave the name out, the message shows the name that was given then.

examples:
  evalpool retry results.db --failed --function train.py:run
  evalpool retry results.db --failed --cancelled --function train.py:run -n 4 --job-timeout 10m
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.add_argument("--function", metavar="FUNCTION", help="the run-function, as for `evalpool run`; needed")
    parser.add_argument("--failed", action="store_true", help="jobs that failed")
    parser.add_argument("--cancelled", action="store_true", help="jobs that were cancelled, also by the time limit")
    parser.add_argument("--force", action="store_true", help="accept another function than the search was begun with")
    add_tag(parser)
    add_execution(parser)
    add_results(parser)


def main(arguments: argparse.Namespace) -> int:
    from evalpool.cli._evaluation import check_results, separate_output

    statuses = set()
    if arguments.failed:
        statuses.add(JobStatus.FAILED)
    if arguments.cancelled:
        statuses.add(JobStatus.CANCELLED)
    if not statuses:
        raise BadArgument("say what to run again: --failed, --cancelled, or both.")
    check_results(arguments)
    with separate_output(arguments) as out:
        return _retry(arguments, statuses, out)


def _retry(arguments: argparse.Namespace, statuses: set[JobStatus], out: TextIO) -> int:
    from evalpool.cli._evaluation import Evaluation, clean_end
    from evalpool.cli._listed import SharedList, options_of
    from evalpool.cli._stores import open_to_read, search_of

    with open_to_read(arguments.store) as storage, clean_end():
        search_id = search_of(storage, arguments.search_id)
        if arguments.function is None:
            raise BadArgument(_advice(arguments, storage, search_id))
        function = load_function(arguments.function)
        if not arguments.force:
            named = function_of(arguments.function, function)
            check_origin(storage, search_id, named, "Name the function with which the search was begun")
        records = storage.results(search_id)
        again = [given for given in to_retry(records, statuses) if options_of(given).is_tagged(arguments.tag)]
        if not again:
            if arguments.json:
                write_json({"search_id": search_id, "retried": 0}, out)
            else:
                sys.stdout.write(f"nothing to run again in search {search_id}\n")
            return 0
        evaluation = Evaluation(arguments, function, storage, search_id, out)
        with evaluation.evaluator as evaluator:
            if not getattr(evaluator, "is_master", True):
                return 0
            before = sum(record.status is not JobStatus.CANCELLED for record in records)
            shared = SharedList(evaluator, again, {record.number for record in records})
            return evaluation.run(shared, len(shared.missing), before=before)


def to_retry(records: list[JobRecord], statuses: set[JobStatus]) -> list[Given]:
    """The configurations whose last job has one of these statuses, with its options, each once, in order of first job.

    A job that returned a failure counts as failed. The cost is that of all jobs of the search.
    """
    from evalpool.search._random_search import configuration_key

    last: dict[Hashable, JobRecord] = {}
    for record in records:
        last[configuration_key(record.configuration)] = record  # in the order of the first, with the value of the last
    return [submission(record.configuration, record.options) for record in last.values() if _status(record) in statuses]


def _status(record: JobRecord) -> JobStatus:
    failed = record.status is JobStatus.DONE and record.kind is not None
    return JobStatus.FAILED if failed else record.status


def _advice(arguments: argparse.Namespace, storage: Storage, search_id: str) -> str:
    """The message that says what to add to the command; it repeats the options that choose the jobs."""
    named = [] if arguments.search_id is None else ["--search-id", arguments.search_id]
    asked = [f"--{name}" for name in ("failed", "cancelled") if getattr(arguments, name)]
    tags = [word for tag in arguments.tag for word in ("--tag", tag)]
    words = ["evalpool", "retry", arguments.store, *named, *asked, *tags, "--function"]
    command = clean(shlex.join(words), LONGEST_LINE)
    try:
        name = clean(str(storage.load_search_value(search_id, "run_function")), LONGEST_LINE)
    except KeyError:
        return f"name the run-function: {command} module:function."
    return (
        f"name the run-function; this search was begun with {name}, so if you trust it: {command} {shlex.quote(name)}"
    )
