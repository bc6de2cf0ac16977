"""Run by `multiprocessing` as `__mp_main__` in a process that a job's own code spawned; see `evalpool.worker._spawned`.

It copies the names of this module into the `__main__` that it makes then, so what is asked for by other names is found
by this `__getattr__`, and a process that is spawned from there finds this `__spec__`. Never imported otherwise.
"""

from evalpool.worker._spawned import adopted_main

_script = adopted_main()
__getattr__ = _script.__getattr__
__spec__ = _script.__spec__
