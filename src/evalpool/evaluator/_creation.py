"""`Evaluator.create`: makes an evaluator by the name of a method; each name has its type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

from evalpool.evaluator import _settings

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.evaluator._names_above import (
        ExecutorEvaluator,
        MPICommEvaluator,
        ProcessPoolEvaluator,
        RayEvaluator,
        SerialEvaluator,
        ThreadPoolEvaluator,
    )

__all__ = ["Creation"]


class Creation:
    """`Evaluator.create`."""

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: Literal["serial"] = ...,
        method_kwargs: dict[str, Any] | None = None,
    ) -> SerialEvaluator: ...

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: Literal["thread"],
        method_kwargs: dict[str, Any] | None = None,
    ) -> ThreadPoolEvaluator: ...

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: Literal["process", "loky"],
        method_kwargs: dict[str, Any] | None = None,
    ) -> ProcessPoolEvaluator: ...

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: Literal["ray"],
        method_kwargs: dict[str, Any] | None = None,
    ) -> RayEvaluator: ...

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: Literal["mpicomm", "mpi"],
        method_kwargs: dict[str, Any] | None = None,
    ) -> MPICommEvaluator: ...

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: Literal["executor"],
        method_kwargs: dict[str, Any] | None = None,
    ) -> ExecutorEvaluator: ...

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: str,
        method_kwargs: dict[str, Any] | None = None,
    ) -> Evaluator: ...

    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: str = "serial",
        method_kwargs: dict[str, Any] | None = None,
    ) -> Evaluator:
        """Make an evaluator by the name of its method.

        >>> evaluator = Evaluator.create(lambda job: job["x"] ** 2, method="serial")
        >>> jobs = evaluator.submit([{"x": 3}])
        >>> [job.objective for job in evaluator.gather()]
        [9]
        >>> evaluator.close()
        []

        Raises:
            UnknownMethod: there is no such method; the message lists the known ones.
            BadArgument: the method does not have a keyword; the message lists those it has.
        """
        from evalpool.evaluator._registry import EVALUATORS

        cls = EVALUATORS[method]
        kwargs = _settings.check_kwargs(method_kwargs)
        _settings.check_keywords(cls, kwargs)
        return cls(run_function, **kwargs)
