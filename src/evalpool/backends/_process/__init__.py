"""The supervised process backend.

::

    caller's thread              whoever does the pool's I/O            worker process
      Pool.run ──jobs───────────────────────────────────────────data──► unpickle, call
                                   outcome, record ◄────────────data─── one frame each
      inbox ◄──── report ◄──────── stderr's tail, exit status ◄──────── its end
                                   stop, steal back ─────────control──► a thread that sleeps

It is the pool of `evalpool.backends._pool` with a launcher of interpreters (`_launcher`).
"""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.backends._process._evaluator import ProcessPoolEvaluator as ProcessPoolEvaluator

__getattr__, __dir__, __all__ = attach(__name__, {"ProcessPoolEvaluator": "_evaluator"})
