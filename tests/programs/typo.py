"""A typo makes each job fail: the log tells the first failure with its line, once, and there is no best job.

Prints:

    told 1 time: KeyError: 'rat', at typo.py
    best: []
"""

import logging
import sys

from evalpool import Evaluator, RandomSearch, optimize


def train(job):
    return -((job["rat"] - 2) ** 2)


class Told(logging.Handler):
    texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


if __name__ == "__main__":
    logging.getLogger("evalpool").addHandler(Told())
    with Evaluator.create(train, method="process", method_kwargs={"num_workers": 2}) as evaluator:
        optimize(evaluator, RandomSearch({"rate": (0.0, 5.0)}, seed=0), max_evals=40)
        best = evaluator.best()
    (text,) = Told.texts
    sys.stdout.write(
        f"told {len(Told.texts)} time: {text[text.index('KeyError:') : text.index('.py') + 3]}\nbest: {best}\n"
    )
