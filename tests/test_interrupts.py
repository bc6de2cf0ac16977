"""The condition whose waiting an interrupt can end."""

from __future__ import annotations

import threading
from typing import Any

from evalpool._interrupts import Condition


def test_all_who_wait_are_woken_also_if_one_was_released_before() -> None:
    condition: Any = Condition(threading.Lock())
    woken: list[int] = []

    def wait(number: int) -> None:
        with condition:
            waits.release()  # the notifier gets the lock when this thread waits
            if condition.wait(60.0):
                woken.append(number)

    waits = threading.Semaphore(0)
    threads = [threading.Thread(target=wait, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert waits.acquire(timeout=60.0)
    with condition:
        condition._waiters[0].release()  # an interrupt came before it was removed
        condition.notify_all()
    for thread in threads:
        thread.join(60.0)
    assert sorted(woken) == [0, 1, 2]
    with condition:
        condition.notify_all()  # nobody waits
