"""TE-NAS: pruning a supernet by the condition of its kernel and its number of linear regions, without training.

:func:`prune` is the entry. ``ranking`` has the rule by which removals are chosen, ``rounds`` the order in which they
are looked at, ``figures`` what is measured; ``protocol`` holds the settings of the released code and of the default.
"""

from prejudge.search.pruning.protocol import CONVENTIONS, PruningProtocol, convention
from prejudge.search.pruning.result import PruningResult, PruningRound, agreement, search_result
from prejudge.search.pruning.search import prune

__all__ = [
    "CONVENTIONS",
    "PruningProtocol",
    "PruningResult",
    "PruningRound",
    "agreement",
    "convention",
    "prune",
    "search_result",
]
