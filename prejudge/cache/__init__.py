"""The score cache: which scores there are, under which protocol; computing the missing ones. Reads without torch."""

from prejudge.cache.filler import fill
from prejudge.cache.foreign_scores import ImportReport, import_pickles
from prejudge.cache.foreign_tables import import_scores
from prejudge.cache.protocol import Protocol
from prejudge.cache.shard import Shard
from prejudge.cache.store import MergeReport, ScoreCache
from prejudge.cache.verify import verify

__all__ = [
    "ImportReport",
    "MergeReport",
    "Protocol",
    "ScoreCache",
    "Shard",
    "fill",
    "import_pickles",
    "import_scores",
    "verify",
]
