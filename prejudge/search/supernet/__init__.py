"""Gradient-based searches on supernets: DARTS and the methods that followed it.

A method is a generator function over a :class:`SupernetContext` that yields stages (:class:`Stage`) and returns the
architecture, registered with ``@search_method(…, context=SupernetContext)``.
"""

import prejudge.search.supernet.darts.method
import prejudge.search.supernet.darts_pt.method
import prejudge.search.supernet.ista.one_stage
import prejudge.search.supernet.ista.two_stage
import prejudge.search.supernet.sdarts.method
import prejudge.search.supernet.stacnas.method  # noqa: F401
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.stage import Stage, Stages

__all__ = ["Stage", "Stages", "SupernetContext"]
