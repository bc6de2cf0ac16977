"""``evalpool run``: a file of configurations, or a search, from the command line."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import TYPE_CHECKING, Any, TextIO

from evalpool._functions import load_function
from evalpool.cli._options import add_execution, add_results, whole
from evalpool.cli._origin import ORIGIN, check_origin, origin_of
from evalpool.errors import BadArgument
from evalpool.search._minimizing import Minimizing

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator

__all__ = ["HELP", "SUMMARY", "add_options", "main"]


SUMMARY = "Evaluate a file of configurations, or search."
HELP = """\
Evaluate every configuration of a file, or let a search propose them. FUNCTION is module:function (looked for in the
working directory first) or path/to/file.py:function; it gets one job and returns a number, which is maximised.

examples:
  evalpool run train.py:run --configs grid.csv -n 4 --out results.csv
  evalpool run model:train --configs grid.jsonl --storage sqlite:///results.db
  evalpool run model:train --configs grid.jsonl --storage sqlite:///results.db --resume
  evalpool run train.py:run --search random --space space.json --max-evals 100 -n -1 --out results.csv
  mpirun -n 8 python -m evalpool.mpi -m evalpool run model:train --configs grid.csv --backend mpi --out results.csv

configurations: a .jsonl file has a JSON object per line; a .csv file has a column per name (in a table that evalpool
wrote, the p: columns). Options of single jobs: columns options:priority, options:job_timeout, options:tags ("a,b"), or
{"configuration": {"x": 1}, "priority": 2, "tags": ["a"]} in a line.

spaces: a space is a JSON object: {"lr": {"low": 1e-5, "high": 0.1, "log": true}, "layers": {"low": 1, "high": 4},
"optimizer": ["adam", "sgd"]}; a list means one of its values, and bounds without a point mean whole numbers.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("function", metavar="FUNCTION", help="module:function or path/to/file.py:function")
    what = parser.add_argument_group("what to evaluate")
    which = what.add_mutually_exclusive_group(required=True)
    which.add_argument("--configs", metavar="FILE", help="configurations: .jsonl or .csv")
    which.add_argument("--search", choices=("random", "optuna"), help="how configurations are proposed")
    what.add_argument("--space", metavar="FILE", help="with --search: the search space, a .json file")
    what.add_argument("--max-evals", metavar="N", type=whole(1), help="with --search: how many evaluations")
    what.add_argument(
        "--minimize", action="store_true",
        help="smaller objectives are better; stored with the search, so that status, watch and plot know it",
    )  # fmt: skip
    what.add_argument("--seed", metavar="N", type=whole(0), help="seed of the search and of the jobs")
    add_execution(parser)
    parser.add_argument_group("where to keep the results").add_argument(
        "--storage", metavar="STORE", default=os.environ.get("EVALPOOL_STORAGE") or None,
        help="keep everything here: survives a crash, can be watched and resumed",
    )  # fmt: skip
    add_results(parser)
    again = parser.add_argument_group("continuing a search")
    again.add_argument(
        "--resume", action="store_true",
        help="continue a search of the storage: evaluate what is missing of the file, or up to --max-evals",
    )  # fmt: skip
    again.add_argument("--search-id", metavar="ID", help="with --resume: which search; the latest if not given")
    again.add_argument(
        "--force", action="store_true",
        help="with --resume: accept another function, space or file than the search was begun with",
    )  # fmt: skip


def main(arguments: argparse.Namespace) -> int:
    from evalpool.cli._evaluation import separate_output

    _check(arguments)
    with separate_output(arguments) as out:
        return _run(arguments, out)


def _run(arguments: argparse.Namespace, out: TextIO) -> int:
    from evalpool.cli._configurations import read_configurations, read_space_file
    from evalpool.cli._evaluation import Evaluation, clean_end
    from evalpool.cli._listed import Listed, SharedList, configuration_of
    from evalpool.cli._stores import open_to_read, open_to_write, search_of

    configurations = read_configurations(arguments.configs) if arguments.configs else []
    optimizer = None if arguments.configs else _optimizer(arguments)
    function = load_function(arguments.function)
    values = list(map(configuration_of, configurations)) if arguments.configs else read_space_file(arguments.space)
    origin = origin_of(arguments, function, values)
    with contextlib.ExitStack() as stack:
        storage = None
        if arguments.storage:
            opened = open_to_read if arguments.resume else open_to_write  # a store that is resumed must exist
            storage = stack.enter_context(opened(arguments.storage))
        search_id = None
        if arguments.resume:
            assert storage is not None
            search_id = search_of(storage, arguments.search_id)
            if not arguments.force:
                check_origin(storage, search_id, origin)
        stack.enter_context(clean_end())
        evaluation = Evaluation(arguments, function, storage, search_id, out)
        with evaluation.evaluator as evaluator:
            if not getattr(evaluator, "is_master", True):
                return 0  # an MPI rank, which has served
            evaluator.storage.store_search_value(evaluator.search_id, "run_function", arguments.function)
            minimize = _direction(evaluator, arguments)
            if search_id is None or arguments.force:
                evaluator.storage.store_search_value(evaluator.search_id, ORIGIN, origin)
            evaluator.resume()
            if optimizer is not None:
                return evaluation.run(Minimizing(optimizer) if minimize else optimizer, arguments.max_evals)
            if storage is None:
                return evaluation.run(Listed(configurations), len(configurations))
            shared = SharedList(evaluator, configurations)
            return evaluation.run(shared, evaluator.num_jobs_submitted + len(shared.missing))


def _direction(evaluator: Evaluator, arguments: argparse.Namespace) -> bool:
    """Whether smaller objectives are better. This is set when a search begins, and stored with it."""
    from evalpool.storage._records import MINIMIZE, minimizes

    storage, search_id = evaluator.storage, evaluator.search_id
    known = minimizes(storage, search_id)
    if arguments.minimize and not known:
        if arguments.resume:
            raise BadArgument(
                f"search {search_id} was begun without --minimize: its larger objectives are better. Leave --minimize "
                "out, or begin another search."
            )
        storage.store_search_value(search_id, MINIMIZE, True)
    return known or bool(arguments.minimize)


def _check(arguments: argparse.Namespace) -> None:
    from evalpool.cli._evaluation import check_results

    if arguments.search and not (arguments.space and (arguments.max_evals or arguments.timeout)):
        raise BadArgument("--search needs --space FILE, and --max-evals or --timeout to end.")
    if arguments.configs and (arguments.space or arguments.max_evals):
        raise BadArgument("--space and --max-evals belong to --search; a file of configurations ends by itself.")
    if arguments.resume and not arguments.storage:
        raise BadArgument("--resume needs --storage: the storage that has the search.")
    if arguments.force and not arguments.resume:
        raise BadArgument("--force needs --resume: without --resume a new search begins, which is never refused.")
    if arguments.search_id and not arguments.resume:
        raise BadArgument("--search-id needs --resume: without --resume a new search begins.")
    if not (arguments.storage or arguments.out):
        raise BadArgument("the results would be lost; give --out results.csv, --storage sqlite:///results.db, or both.")
    check_results(arguments)


def _optimizer(arguments: argparse.Namespace) -> Any:
    from evalpool.cli._configurations import read_space_file

    space = read_space_file(arguments.space)
    if arguments.search == "random":
        from evalpool.search._random_search import RandomSearch

        return RandomSearch(space, seed=arguments.seed)
    from evalpool.search._optuna import OptunaOptimizer

    try:
        import optuna
    except ImportError:
        return OptunaOptimizer(None, space)  # says what to install
    if not arguments.debug:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = None if arguments.seed is None else optuna.samplers.TPESampler(seed=arguments.seed)
    return OptunaOptimizer(sampler, space)
