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
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.darts.genotype_file import SavedGenotype, read_genotype, write_genotype
from prejudge.spaces.darts.macro import MacroConfigDARTS
from prejudge.spaces.darts.published import PublishedGenotype, genotype_names, published_genotype
from prejudge.spaces.darts.space import DARTS
from prejudge.spaces.nasbench101.space import Cell101, NASBench101
from prejudge.spaces.nasbench201.space import Cell201, NASBench201
from prejudge.spaces.nats_size.space import NATSSize, StageWidths
from prejudge.spaces.selection import select
from prejudge.spaces.timm.model import TimmModel
from prejudge.spaces.timm.space import TimmSpace

__all__ = [
    "DARTS",
    "Architecture",
    "Cell101",
    "Cell201",
    "EnumerableSpace",
    "Genotype",
    "MacroConfigDARTS",
    "NASBench101",
    "NASBench201",
    "NATSSize",
    "PublishedGenotype",
    "SavedGenotype",
    "Space",
    "StageWidths",
    "TimmModel",
    "TimmSpace",
    "genotype_names",
    "published_genotype",
    "read_genotype",
    "register_space",
    "require_enumerable",
    "select",
    "space",
    "space_names",
    "write_genotype",
]
