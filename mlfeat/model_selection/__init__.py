"""Searches for hyper-parameters: of weights by cross-validation, and of anything by evolution."""

from mlfeat.model_selection._evolution import DifferentialEvolutionSearch
from mlfeat.model_selection._property_scorer import property_scorer
from mlfeat.model_selection._search_weights import WeightSearch, search_weights

__all__ = ["DifferentialEvolutionSearch", "WeightSearch", "property_scorer", "search_weights"]
