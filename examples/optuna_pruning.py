"""Optuna proposes and prunes, evalpool evaluates: one run-function, in processes and in simulated time.

The run-function records its accuracy after each epoch and asks whether to stop. It does not use Optuna, so the
same function runs in worker processes, and in simulated time, where a search of hours takes no time.

    python examples/optuna_pruning.py

Needs: pip install "evalpool[optuna]"
"""

import math
from typing import Any

import optuna

from evalpool import Evaluator, OptunaOptimizer, RunningJob, SerialEvaluator, optimize, simulated

SPACE = {"rate": (1e-4, 1.0, "log"), "layers": (1, 4)}
EPOCHS = 20


def train(job: RunningJob) -> dict[str, Any]:
    """The run-function; imitates a training of one minute per epoch and layer."""
    limit = math.exp(-(math.log10(job["rate"] / 0.01) ** 2)) * (0.8 + 0.05 * job["layers"])
    for epoch in range(1, EPOCHS + 1):
        job.record(epoch, limit * (1 - 0.7**epoch))
        if job.stopped():  # because of Optuna's pruner, a cancel, or a time limit
            break
    return {"objective": job.objective, "runtime": 60.0 * epoch * job["layers"], "metadata": {"epochs": epoch}}


def new_optimizer() -> OptunaOptimizer:
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
    )
    return OptunaOptimizer(study, SPACE)


def show(where: str, optimizer: OptunaOptimizer, epochs: int) -> None:
    trials = optimizer.study.trials
    pruned = sum(trial.state is optuna.trial.TrialState.PRUNED for trial in trials)
    saved = 1 - epochs / (EPOCHS * len(trials))
    print(f"{where}: {len(trials)} trials, {pruned} pruned, {saved:.0%} of the epochs saved, ", end="")
    print(f"best {optimizer.study.best_value:.3f}")


def main() -> None:
    optimizer = new_optimizer()
    settings = {"num_workers": 2, "stopper": optimizer.stopper}
    with Evaluator.create(train, method="process", method_kwargs=settings) as evaluator:
        jobs = optimize(evaluator, optimizer, max_evals=40)
    show("two processes", optimizer, sum(job.metadata["epochs"] for job in jobs))

    optimizer = new_optimizer()
    with simulated(SerialEvaluator)(train, num_workers=16, stopper=optimizer.stopper) as virtual:
        jobs = optimize(virtual, optimizer, max_evals=40)
        hours = virtual.now / 3600
    show(f"16 virtual workers, {hours:.1f} virtual hours", optimizer, sum(job.metadata["epochs"] for job in jobs))


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
