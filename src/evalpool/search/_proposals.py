"""The proposals of an optimiser that were not told yet, found by their configurations."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from evalpool.search._random_search import configuration_key

__all__ = ["Proposals"]

ProposalT = TypeVar("ProposalT")


class Proposals(Generic[ProposalT]):
    """Proposals by configuration; of equal configurations the oldest is taken first. Any thread; constant cost."""

    def __init__(self) -> None:
        self._out: defaultdict[Hashable, deque[ProposalT]] = defaultdict(deque)
        self._lock = threading.Lock()

    def put(self, configuration: dict[str, Any], proposal: ProposalT) -> None:
        """Remember the proposal that `configuration` was made from."""
        with self._lock:
            self._out[configuration_key(configuration)].append(proposal)

    def take(self, configuration: dict[str, Any]) -> ProposalT | None:
        """Remove and return the oldest proposal of an equal configuration; None if there is none."""
        key = configuration_key(configuration)
        with self._lock:
            proposals = self._out.get(key)
            if proposals is None:
                return None
            proposal = proposals.popleft()
            if not proposals:
                del self._out[key]
            return proposal

    def outstanding(self) -> list[ProposalT]:
        """All proposals that were put and not taken."""
        with self._lock:
            return [proposal for proposals in self._out.values() for proposal in proposals]
