"""Displays of fitted potentials, in scikit-learn's style: predictions, errors against cost, learning curves.

A display holds what it draws. Its class methods ``from_...`` compute and draw; ``plot`` draws again, on a figure of
pyplot's, a given figure or given axes. None chooses a backend or calls ``show``.
"""

from mlfeat.plotting._learning_curve import LearningCurveDisplay
from mlfeat.plotting._pareto import ParetoDisplay
from mlfeat.plotting._parity import ParityDisplay
from mlfeat.plotting._training_history import TrainingHistoryDisplay

__all__ = ["LearningCurveDisplay", "ParetoDisplay", "ParityDisplay", "TrainingHistoryDisplay"]
