"""Run by `multiprocessing` as `__mp_main__` in a process that a job's own code spawned; see `evalpool.worker._spawned`.

`multiprocessing` copies the names of this module into the `__main__` that it makes. So this `__getattr__` finds other
names, and a process that is spawned from there finds this `__spec__`. It is never imported in another way.
"""

from evalpool.worker._spawned import adopted_main

_script = adopted_main()
__getattr__ = _script.__getattr__
__spec__ = _script.__spec__
