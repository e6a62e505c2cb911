"""Paths in the Brillouin zone, by the names that seekpath gives to its points."""

from math import ceil

import numpy as np

__all__ = ["band_path"]

_GAMMA = "GAMMA"


def band_path(primitive, kinds, path, spacing):
    """Wave vectors along straight segments between points of high symmetry.

    Parameters
    ----------
    primitive : ase.Atoms
        A primitive cell, in any setting.
    kinds : int array of shape (n_atoms,)
        Kinds of its atoms, from 0.
    path : str or None
        Names of points, as "Γ-X-U|K-Γ"; None for all of seekpath's path.
    spacing : float
        Largest distance of wave vectors, 1/Å (without the factor 2π).

    Returns
    -------
    points : list of array of shape (n, 3)
        Of each segment, both ends included, in units of the reciprocal lattice vectors of the cell.
    labels : tuple of (str, str)
        Names of the ends.

    Raises
    ------
    ValueError
        If the path has no segment or names an unknown point.
    """
    import seekpath

    structure = (primitive.cell.array, primitive.get_scaled_positions(), kinds + 1)
    found = seekpath.get_path_orig_cell(structure)
    coordinates = {name: np.array(point) for name, point in found["point_coords"].items()}
    pairs = found["path"] if path is None else _parse(path, coordinates)
    reciprocal = primitive.cell.reciprocal().array
    points = []
    for names in pairs:
        start, end = (coordinates[name] for name in names)
        n_steps = max(1, ceil(np.linalg.norm((end - start) @ reciprocal) / spacing))
        points.append(start + np.linspace(0, 1, n_steps + 1)[:, None] * (end - start))
    return points, tuple((_pretty(start), _pretty(end)) for start, end in pairs)


def _parse(path, coordinates):
    pieces = [[_plain(name) for name in piece.split("-")] for piece in path.split("|")]
    names = [name for piece in pieces for name in piece]
    known = ", ".join(sorted(coordinates))
    unknown = [name for name in names if name not in coordinates]
    if unknown:
        raise ValueError(f"path={path!r}: no point {unknown[0]!r} in this Brillouin zone; known are {known}")
    pairs = [pair for piece in pieces for pair in zip(piece, piece[1:], strict=False)]
    if not pairs:
        raise ValueError(f"path={path!r}: must name two points or more, as 'Γ-X'; known are {known}")
    return pairs


def _plain(name):
    name = name.strip()
    return _GAMMA if name in ("Γ", "G") else name


def _pretty(name):
    name = name.replace(_GAMMA, "Γ").replace("SIGMA", "Σ").replace("DELTA", "Δ").replace("LAMBDA", "Λ")
    base, _, number = name.partition("_")
    return f"{base}$_{{{number}}}$" if number else base
