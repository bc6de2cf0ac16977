"""Numbers that were taken and will never have a job: their owners ended between taking them and recording jobs.

A number that has no job may also be on its way: its owner lives and is about to record it. Owners that share a cap take
numbers and record their jobs one submission after the other, so one that has recorded a job holds no smaller number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalpool.storage._leases import owner_lives

if TYPE_CHECKING:
    from evalpool.storage._base import Storage

__all__ = ["abandoned_numbers"]


def abandoned_numbers(storage: Storage, search_id: str, owner: str) -> int:
    """How many numbers of the search no living owner holds, and have no job. `owner` holds none now.

    Costs the jobs of the search. Numbers are taken under a lease, so whoever holds one is among the owners that are
    read. Those behind the last job of an owner that lives may be its own, and do not count.
    """
    taken = storage.reserve(search_id, 0)
    with storage._fold_lock:
        search = storage._search(search_id)
        living = [other for other in search.leases if other != owner and owner_lives(search, other)]
        search = storage._search(search_id)  # again: whoever was gone by now has recorded all that it ever will
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
