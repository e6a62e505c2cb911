"""Machine-learning interatomic potentials in scikit-learn's idiom."""

__version__ = "0.1.0.dev0"
