"""Steps between descriptor and potential: differentiable functions of the features of each atom."""

from mlfeat.preprocessing._quadratic import QuadraticExpansion
from mlfeat.preprocessing._scaler import FeatureScaler
from mlfeat.preprocessing._selector import FeatureSelector

__all__ = ["FeatureScaler", "FeatureSelector", "QuadraticExpansion"]
