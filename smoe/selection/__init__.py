"""How many experts: criteria along a growing path, and the dendrogram of one over-fitted mixture."""

from smoe.selection.dendrogram import Dendrogram, dendrogram

__all__ = ["Dendrogram", "dendrogram"]
