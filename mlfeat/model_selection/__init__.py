"""Searches for hyper-parameters: weights by cross-validation, and anything by evolution."""

from mlfeat.model_selection._search_weights import WeightSearch, search_weights

__all__ = ["WeightSearch", "search_weights"]
