"""A readable NumPy twin of the symmetry functions, the oracle of the compiled kernel: one term after the other.

Behler, Parrinello, Phys. Rev. Lett. 98, 146401 (2007), with the cutoff functions of n2p2.
"""

import numpy as np
from _bispectrum_twin import brute_force_pairs


def acsf_of(atoms, functions, cutoff_function="cosine", inner_cutoff=0.0):
    """Features (n_atoms, n_features), of symmetry functions in a dict by the center's chemical symbol."""
    largest = max(f.cutoff for own in functions.values() for f in own)
    first, second, vectors = brute_force_pairs(atoms, largest)
    values = np.zeros((len(atoms), max(map(len, functions.values()))))
    for i, symbol in enumerate(atoms.symbols):
        near, symbols = vectors[first == i], np.array(atoms.symbols)[second[first == i]]
        for k, f in enumerate(functions[symbol]):
            values[i, k] = one_function(f, near, symbols, cutoff_function, inner_cutoff)
    return values


def one_function(f, vectors, symbols, cutoff_function, inner_cutoff):
    """One symmetry function of one center, whose neighbors have these vectors and chemical symbols."""

    def term(r):
        return np.exp(-f.eta * (r - f.r_s) ** 2) * cut(r, f.cutoff, cutoff_function, inner_cutoff)

    r = np.linalg.norm(vectors, axis=1)
    if f.kind == 2:
        return sum(term(r[j]) for j in range(len(r)) if symbols[j] == f.neighbors[0])
    total = 0.0
    for j in range(len(r)):
        for k in range(j):
            if sorted((symbols[j], symbols[k])) != sorted(f.neighbors):
                continue
            cosine = np.clip(vectors[j] @ vectors[k] / (r[j] * r[k]), -1, 1)
            product = term(r[j]) * term(r[k]) * 2 ** (1 - f.zeta) * (1 + f.lambda_ * cosine) ** f.zeta
            total += product * (term(np.linalg.norm(vectors[j] - vectors[k])) if f.kind == 3 else 1.0)
    return total


def cut(r, cutoff, name, inner_cutoff):
    """n2p2's cutoff functions; its polynomials of x are written in y = 1 - x."""
    if r >= cutoff:
        return 0.0
    inner = inner_cutoff * cutoff
    x = max(0.0, (r - inner) / (cutoff - inner))
    y = 1 - x
    return {
        "hard": lambda: 1.0,
        "cosine": lambda: 0.5 * (np.cos(np.pi * x) + 1),
        "tanh": lambda: np.tanh(1 - r / cutoff) ** 3,
        "normalized tanh": lambda: (np.tanh(1 - r / cutoff) / np.tanh(1)) ** 3,
        "exponential": lambda: np.exp(1 - 1 / (1 - x**2)),
        "poly1": lambda: y**2 * (3 - 2 * y),
        "poly2": lambda: y**3 * (10 - 15 * y + 6 * y**2),
        "poly3": lambda: y**4 * (35 - 84 * y + 70 * y**2 - 20 * y**3),
        "poly4": lambda: y**5 * (126 - 420 * y + 540 * y**2 - 315 * y**3 + 70 * y**4),
    }[name]()
