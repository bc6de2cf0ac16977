"""The engines. Each is an `evalpool.evaluator.Evaluator` with four hooks; they are imported when first used."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.backends._executor import ExecutorEvaluator as ExecutorEvaluator
    from evalpool.backends._process import ProcessPoolEvaluator as ProcessPoolEvaluator
    from evalpool.backends._serial import SerialEvaluator as SerialEvaluator
    from evalpool.backends._thread import ThreadPoolEvaluator as ThreadPoolEvaluator

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ExecutorEvaluator": "_executor",
        "ProcessPoolEvaluator": "_process",
        "SerialEvaluator": "_serial",
        "ThreadPoolEvaluator": "_thread",
    },
)
