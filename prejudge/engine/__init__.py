"""Run many independent jobs and stream their results to one writer."""

from prejudge.engine.local import run_jobs

__all__ = ["run_jobs"]
