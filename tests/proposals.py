"""A search for tests that need to know what is proposed."""

from __future__ import annotations

from typing import Any


class Listed:
    """Proposes the values of a list for the parameter x, one after the other."""

    def __init__(self, values: list[int]) -> None:
        self.values = iter(values)

    def ask(self) -> Any:
        return {"x": next(self.values)}

    def tell(self, job: Any) -> None:
        """Does not need to know."""
