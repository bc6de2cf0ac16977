"""deephyper's ensembles: predictors that an evaluator calls, and a selection that hears of a search's jobs.

    python ensembles.py (deephyper | evalpool)

Prints the same with deephyper alone and with evalpool's evaluators in it.
"""

import sys
import tempfile
import warnings

world = sys.argv[1]
if world == "evalpool":
    from evalpool.compat.deephyper import install

    install()
warnings.simplefilter("ignore")

import numpy as np
from deephyper.ensemble import EnsemblePredictor
from deephyper.ensemble.aggregator import MeanAggregator
from deephyper.ensemble.loss import SquaredError
from deephyper.ensemble.selector import OnlineSelector, TopKSelector
from deephyper.evaluator import Evaluator
from deephyper.hpo import HpProblem, RandomSearch
from deephyper.predictor import Predictor
from deephyper.predictor.sklearn import SklearnPredictor
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3))
y = X @ [1.0, 2.0, 3.0]


class Broken(Predictor):
    def predict(self, X):
        raise ValueError("no model")


def run(job):
    selector = {"y_pred": y + job["x"], "y_pred_idx": np.arange(len(y))}
    return {"objective": -(job["x"] ** 2), "online_selector": selector}


if __name__ == "__main__":
    predictors = [
        SklearnPredictor(model.fit(X, y)) for model in (Ridge(), DecisionTreeRegressor(max_depth=2, random_state=0))
    ]
    for evaluator in (None, "thread", {"method": "thread", "method_kwargs": {"num_workers": 2}}, "process"):
        ensemble = EnsemblePredictor(predictors, MeanAggregator(), weights=[0.25, 0.75], evaluator=evaluator)
        for _ in range(2):
            print(ensemble.predict(X[:3]).round(6).tolist())
    try:
        EnsemblePredictor([predictors[0], Broken()], MeanAggregator()).predict(X[:3])
    except RuntimeError as error:
        print(str(error).split(":")[0], repr(error.__context__))

    problem = HpProblem()
    problem.add((-1.0, 1.0), "x")
    selector = TopKSelector(SquaredError(), k=2)
    ensemble = EnsemblePredictor([], MeanAggregator())
    online = OnlineSelector(y, selector, ensemble, lambda job_id: predictors[0])
    evaluator = Evaluator.create(run, method="thread", method_kwargs={"callbacks": [online]})
    RandomSearch(problem, random_state=1, log_dir=tempfile.mkdtemp()).search(evaluator, max_evals=6)
    print(online.selected_predictors_job_ids, len(online.y_predictors), len(online.ensemble.predictors))
    if world == "evalpool":  # there `serial` is for coroutines
        print(EnsemblePredictor(predictors, MeanAggregator(), evaluator="serial").predict(X[:1]).shape)
