"""TE-NAS: pruning a supernet by the condition of its kernel and its number of linear regions, without training.

``method`` has the search method. ``ranking`` has the rule by which removals are chosen, ``rounds`` the order in which
they are looked at, ``measurement`` the figures; ``protocol`` the settings of the released code and of the default.
"""

from prejudge.search.pruning.method import PruningContext, te_nas
from prejudge.search.pruning.protocol import CONVENTIONS, PruningProtocol, convention_protocol
from prejudge.search.pruning.rounds import PruningRound, agreement

__all__ = [
    "CONVENTIONS",
    "PruningContext",
    "PruningProtocol",
    "PruningRound",
    "agreement",
    "convention_protocol",
    "te_nas",
]
