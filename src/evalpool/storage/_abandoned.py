"""Counts numbers that were taken and will never have a job: the owner ended after it took them and before it recorded
the jobs.

A number that has no job yet may still get one, if its owner runs and is about to record it. Owners that share a cap
take numbers and record the jobs of one submission before they begin the next one. So an owner that has recorded a job
will not record a job with a smaller number later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalpool.storage._leases import owner_lives

if TYPE_CHECKING:
    from evalpool.storage._base import Storage

__all__ = ["abandoned_numbers"]


def abandoned_numbers(storage: Storage, search_id: str, owner: str) -> int:
    """Return how many numbers of the search have no job and will not get one. `owner` holds no such number now.

    The cost grows with the number of jobs of the search. An owner takes numbers only while it has a lease, so every
    owner that holds a number is among the owners that are read here. Numbers greater than that of the last job of a
    living owner may belong to this owner, and do not count.
    """
    taken = storage.reserve(search_id, 0)
    with storage._fold_lock:
        search = storage._search(search_id)
        living = [other for other in search.leases if other != owner and owner_lives(search, other)]
        search = storage._search(search_id)  # again: an owner that had ended before has recorded all its jobs
        last: dict[str, int] = {}
        created: set[int] = set()
        for number, job in search.jobs.items():
            if job.created is not None:
                created.add(number)
                who = job.created.get("owner")
                if who is not None and number > last.get(who, -1):
                    last[who] = number
        end = min([taken, *(last.get(other, -1) for other in living)])
        return sum(number not in created for number in range(end))
