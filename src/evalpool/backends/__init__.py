"""The engines and their evaluators; they are imported at the first use.

For writers of engines: a `Backend` runs an `Attempt` of a job and reports it to its `Port`. `RemoteCall`, `Line` and
`read_outcome` are for workers that do not share this process's memory; they use the result of `Port.setup`.
"""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.backends._executor import ExecutorEvaluator as ExecutorEvaluator
    from evalpool.backends._mpi import MPICommEvaluator as MPICommEvaluator
    from evalpool.backends._pool._evaluator import pool_evaluator as pool_evaluator
    from evalpool.backends._pool._launcher import Launcher as Launcher
    from evalpool.backends._pool._profile import profile as profile
    from evalpool.backends._process import ProcessPoolEvaluator as ProcessPoolEvaluator
    from evalpool.backends._ray import RayEvaluator as RayEvaluator
    from evalpool.backends._remote import Line as Line
    from evalpool.backends._remote import RemoteCall as RemoteCall
    from evalpool.backends._remote import read_outcome as read_outcome
    from evalpool.backends._serial import SerialEvaluator as SerialEvaluator
    from evalpool.backends._thread import ThreadPoolEvaluator as ThreadPoolEvaluator
    from evalpool.evaluator._attempt import Attempt as Attempt
    from evalpool.evaluator._backend import Backend as Backend
    from evalpool.evaluator._local_channel import LocalChannel as LocalChannel
    from evalpool.evaluator._port import Port as Port
    from evalpool.evaluator._port import Turn as Turn

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Attempt": "evalpool.evaluator._attempt",
        "Backend": "evalpool.evaluator._backend",
        "ExecutorEvaluator": "_executor",
        "Launcher": "_pool._launcher",
        "Line": "_remote",
        "LocalChannel": "evalpool.evaluator._local_channel",
        "MPICommEvaluator": "_mpi",
        "Port": "evalpool.evaluator._port",
        "ProcessPoolEvaluator": "_process",
        "RayEvaluator": "_ray",
        "RemoteCall": "_remote",
        "SerialEvaluator": "_serial",
        "ThreadPoolEvaluator": "_thread",
        "Turn": "evalpool.evaluator._port",
        "pool_evaluator": "_pool._evaluator",
        "profile": "_pool._profile",
        "read_outcome": "_remote",
    },
)
