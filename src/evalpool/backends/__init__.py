"""The engines. Each is an `evalpool.evaluator.Evaluator` with four hooks; they are imported when first used.

For writers of engines: `LocalChannel` for workers that share this process's memory; `RemoteCall`, `Line` and
`read_outcome` for those that do not, with what `evalpool.evaluator.pack` makes.
"""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.backends._executor import ExecutorEvaluator as ExecutorEvaluator
    from evalpool.backends._mpi import MPICommEvaluator as MPICommEvaluator
    from evalpool.backends._pool._profile import profile as profile
    from evalpool.backends._process import ProcessPoolEvaluator as ProcessPoolEvaluator
    from evalpool.backends._ray import RayEvaluator as RayEvaluator
    from evalpool.backends._remote import Line as Line
    from evalpool.backends._remote import RemoteCall as RemoteCall
    from evalpool.backends._remote import read_outcome as read_outcome
    from evalpool.backends._serial import SerialEvaluator as SerialEvaluator
    from evalpool.backends._thread import LocalChannel as LocalChannel
    from evalpool.backends._thread import ThreadPoolEvaluator as ThreadPoolEvaluator

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ExecutorEvaluator": "_executor",
        "Line": "_remote",
        "LocalChannel": "_thread",
        "MPICommEvaluator": "_mpi",
        "ProcessPoolEvaluator": "_process",
        "RayEvaluator": "_ray",
        "RemoteCall": "_remote",
        "SerialEvaluator": "_serial",
        "ThreadPoolEvaluator": "_thread",
        "profile": "_pool._profile",
        "read_outcome": "_remote",
    },
)
