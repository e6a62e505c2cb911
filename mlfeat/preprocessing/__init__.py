"""Steps between descriptor and potential: differentiable functions of the features of each atom."""

from mlfeat.preprocessing._quadratic import QuadraticExpansion
from mlfeat.preprocessing._scaler import FeatureScaler

__all__ = ["FeatureScaler", "QuadraticExpansion"]
