"""Run many independent jobs and stream their results to one writer."""

from prejudge.engine.base import LATER, OVERDUE, Engine, Progress
from prejudge.engine.local import LocalEngine, local_unless, run_jobs
from prejudge.engine.ray.cluster import RayEngine

__all__ = ["LATER", "OVERDUE", "Engine", "LocalEngine", "Progress", "RayEngine", "local_unless", "run_jobs"]
