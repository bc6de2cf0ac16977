"""The job as its submitter sees it, the inbox of finished jobs, and what is computed from jobs alone."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.jobs._best import best as best
    from evalpool.jobs._hypervolume import hypervolume as hypervolume
    from evalpool.jobs._hypervolume import pareto_front as pareto_front
    from evalpool.jobs._job import HPOJob as HPOJob
    from evalpool.jobs._job import Job as Job
    from evalpool.jobs._options import JobOptions as JobOptions
    from evalpool.jobs._options import Submission as Submission

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "HPOJob": "_job",
        "Job": "_job",
        "JobOptions": "_options",
        "Submission": "_options",
        "best": "_best",
        "hypervolume": "_hypervolume",
        "pareto_front": "_hypervolume",
    },
)
