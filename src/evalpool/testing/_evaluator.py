"""The contract of every backend, as a pytest class that you bind to yours."""

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

    Set `evaluator_class`, or `backend_class`. Set `in_background`, `pickles`, `survives_crashes`, `kills`,
    `tells_exit_status` and `keeps_stderr` to what your engine does. Override `evaluator_kwargs` if it needs arguments.
    Tests of what it cannot do are skipped, with the reason.
    """
