"""The backend on a Ray cluster.

::

    this process                                Ray                       worker: an actor
      launcher: one actor per worker ────────► places it, tells its end
      task, kwargs ──ray.put, once──────────► object store ────────────► unpickled once, arrays not copied
      large arrays of configurations ───────► object store ────────────► take(arrays), on other hosts
      large arrays of both ◄────────────────── rings of memory ────────► on this host
      Listener ◄──────────────── two connections of its own ◄─────────── connect
      dispatch ──jobs, several to a message───────────────────────────► run-function
      inbox ◄── outcome, record ◄──────────────────────────────────────

Ray does what it is good at: it finds a place with the resources, starts a process there, moves large objects
between hosts and tells when a process or its host died. Jobs and outcomes take a connection of our own, with the
rules of `_pool`: a call of an actor costs 300 microseconds, a job on that connection 20; an outcome arrives when it
is there, not when the call does that it shared with others; and which job ran when a worker died is known.

`_evaluator` has the arguments, `_resources` what fits where, `_launcher` the actors, `_actor` what runs in one,
`_reach` how it connects to us, `_transport`, `_ring` and `_store` how large arrays go; `evalpool._ray_session` who
starts and stops Ray.
"""

from evalpool.backends._ray._evaluator import RayEvaluator

__all__ = ["RayEvaluator"]
