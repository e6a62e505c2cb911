"""Activation functions of networks, with the two derivatives that fits to forces need."""

import numpy as np
from scipy.special import expit

__all__ = ["ACTIVATIONS"]


def _linear(z):
    return z, np.ones_like(z), np.zeros_like(z)


def _tanh(z):
    a = np.tanh(z)
    slope = 1 - a * a
    return a, slope, -2 * a * slope


def _logistic(z):
    a = expit(z)
    slope = a * expit(-z)
    return a, slope, slope * (1 - 2 * a)


def _reverse_logistic(z):
    a, slope, curvature = _logistic(z)
    return 1 - a, -slope, -curvature


def _softplus(z):
    slope = expit(z)
    return np.logaddexp(0, z), slope, slope * expit(-z)


def _relu(z):
    slope = (z > 0).astype(float)
    return z * slope, slope, np.zeros_like(z)


def _gaussian(z):
    a = np.exp(-0.5 * z * z)
    return a, -z * a, (z * z - 1) * a


def _cos(z):
    a = np.cos(z)
    return a, -np.sin(z), -a


def _exp(z):
    a = np.exp(-z)
    return a, -a, a


def _harmonic(z):
    return z * z, 2 * z, np.full_like(z, 2.0)


def _silu(z):
    s = expit(z)
    slope = s * (1 - s)
    return z * s, s + z * slope, slope * (2 + z * (1 - 2 * s))


# Each gives f(z), f'(z) and f''(z).
ACTIVATIONS = {
    "tanh": _tanh,
    "softplus": _softplus,
    "logistic": _logistic,
    "silu": _silu,
    "gaussian": _gaussian,
    "cos": _cos,
    "relu": _relu,
    "reverse_logistic": _reverse_logistic,
    "exp": _exp,
    "harmonic": _harmonic,
    "linear": _linear,
}
