"""The supervised process backend.

::

    caller's thread              I/O thread of the supervisor           worker process
      _dispatch_all ──jobs──────────────────────────────────────data──► unpickle, call
                                   outcome, record ◄────────────data─── one frame each
      inbox ◄──── _report_all ◄─── stderr's tail, exit status ◄──────── its end
                                   stop, withdraw ───────────control──► a thread that sleeps

`_evaluator` has the four hooks, `_supervisor` the I/O thread, `_handle` what it knows of one worker,
`_wire` the frames, `_worker` what runs in a worker, `_ends` how workers end when nobody else ends them.
"""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.backends._process._evaluator import ProcessPoolEvaluator as ProcessPoolEvaluator

__getattr__, __dir__, __all__ = attach(__name__, {"ProcessPoolEvaluator": "_evaluator"})
