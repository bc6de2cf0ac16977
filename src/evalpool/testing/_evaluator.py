"""What every backend must do, as a pytest class that anyone can bind to theirs."""

from __future__ import annotations

from evalpool.testing._lifecycle import LifeCycle
from evalpool.testing._options import Options
from evalpool.testing._profiling import Profiling
from evalpool.testing._results import Results
from evalpool.testing._stopping import Stopping
from evalpool.testing._watching import Watching

__all__ = ["EvaluatorContract"]


class EvaluatorContract(LifeCycle, Results, Stopping, Options, Watching, Profiling):
    """The contract of a backend; see `evalpool.testing` for how to bind it.

    Set `evaluator_class`, or `backend_class`; say with `in_background`, `pickles`, `survives_crashes` and `kills` what
    your engine is; override `evaluator_kwargs` for arguments it needs. Tests of what it cannot do are skipped with the
    reason.
    """
