"""Search spaces: what an architecture is, how it is written, varied, counted and built."""

from prejudge.spaces.base import Architecture, EnumerableSpace, Space, register_space, require_enumerable, space, space_names
from prejudge.spaces.nasbench201 import Cell201, NASBench201

__all__ = [
    "Architecture",
    "Cell201",
    "EnumerableSpace",
    "NASBench201",
    "Space",
    "register_space",
    "require_enumerable",
    "space",
    "space_names",
]
