"""Contract suites for authors: pytest classes that test what every backend and every storage must do.

::

    from evalpool.testing import EvaluatorContract

    class TestMyBackend(EvaluatorContract):
        backend_class = MyBackend  # or evaluator_class = MyEvaluator

They need pytest, so no other part of evalpool imports them.
"""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.testing._evaluator import EvaluatorContract as EvaluatorContract
    from evalpool.testing._storage import StorageContract as StorageContract

__getattr__, __dir__, __all__ = attach(
    __name__,
    {"EvaluatorContract": "_evaluator", "StorageContract": "_storage"},
)
