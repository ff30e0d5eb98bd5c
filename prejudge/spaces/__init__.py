"""Search spaces: what an architecture is, how it is written, varied, counted and built."""

from prejudge.spaces.base import (
    Architecture,
    EnumerableSpace,
    Space,
    register_space,
    require_enumerable,
    space,
    space_names,
)
from prejudge.spaces.darts import DARTS
from prejudge.spaces.darts_skeleton import SkeletonDARTS
from prejudge.spaces.genotype import Genotype
from prejudge.spaces.genotype_file import SavedGenotype, read_genotype, write_genotype
from prejudge.spaces.genotype_register import PublishedGenotype, genotype_names, published_genotype
from prejudge.spaces.nasbench101 import Cell101, NASBench101
from prejudge.spaces.nasbench201 import Cell201, NASBench201

__all__ = [
    "DARTS",
    "Architecture",
    "Cell101",
    "Cell201",
    "EnumerableSpace",
    "Genotype",
    "NASBench101",
    "NASBench201",
    "PublishedGenotype",
    "SavedGenotype",
    "SkeletonDARTS",
    "Space",
    "genotype_names",
    "published_genotype",
    "read_genotype",
    "register_space",
    "require_enumerable",
    "space",
    "space_names",
    "write_genotype",
]
