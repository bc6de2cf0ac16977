"""A backend in the form of before, as docs/writing-a-backend.md had it."""
# mypy: ignore-errors
# ruff: noqa

import os
import socket
import threading

from evalpool import Evaluator
from evalpool.backends import LocalChannel
from evalpool.outcomes import Worker


class ThreadPerJobEvaluator(Evaluator):
    def _start(self):
        self._work = self._task()  # the run-function, with all that belongs around it
        self._channel = LocalChannel(self)  # for `job.record` and `job.stopped`
        self._worker = Worker("mine", socket.gethostname(), os.getpid())

    def _dispatch(self, job):
        threading.Thread(target=self._run, args=(job, job.attempts), daemon=True).start()

    def _run(self, job, attempt):
        if self._watches_starts:
            self._started(job)  # a timeout counts from here
        outcome = self._work.call(job.number, attempt, job.args, self._channel, job._extra, self._worker)
        self._channel.forget(job.number, attempt)
        self._report(job, outcome, attempt)
