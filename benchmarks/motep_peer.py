"""motep's C engine for moment tensor potentials, as a peer to compare and to time against.

Needs the package ``motep`` of the `peers` extra. One thread.
"""

import logging
from importlib import metadata, util

import numpy as np
from ase.data import atomic_numbers

from mlfeat.neighbors import NeighborPairs


def available():
    """Whether motep is installed."""
    return util.find_spec("motep") is not None


def version():
    """motep's version."""
    return metadata.version("motep")


def calculator(path, species):
    """ASE calculator of a potential that gives energy, energies, forces and stress in one evaluation.

    Parameters
    ----------
    path : path-like
        The ``.mtp`` file.
    species : sequence of str
        Elements of the file's species.

    Returns
    -------
    motep.calculator.MTP
    """
    from motep.calculator import MTP
    from motep.io.mlip.mtp import read_mtp

    logging.getLogger("motep").setLevel(logging.ERROR)
    data = read_mtp(str(path))
    data.species = np.array([atomic_numbers[symbol] for symbol in species])
    return MTP(data, engine="cext")


class Evaluation:
    """Energies, forces and stress by the engine alone: with the neighbors within the cutoff and no others, found once.

    Parameters
    ----------
    path, species
        As for `calculator`.
    atoms : ase.Atoms
        What is evaluated.
    """

    def __init__(self, path, species, atoms):
        self._engine, self._atoms = calculator(path, species).engine, atoms
        pairs = NeighborPairs.from_atoms(atoms, float(self._engine.mtp_data.radial_basis.max))
        first, place = pairs.first, np.arange(pairs.n_pairs) - pairs.offsets[pairs.first]
        numbers = np.full((len(atoms), int(np.diff(pairs.offsets).max())), -1, dtype=np.int32)
        offsets = np.zeros((*numbers.shape, 3))
        numbers[first, place] = pairs.second
        offsets[first, place] = pairs.vectors - (atoms.positions[pairs.second] - atoms.positions[first])
        self._engine._neighbors, self._engine._offsets = numbers, offsets
        self._engine.initialize_basis_data(atoms)

    def __call__(self):
        """Energies (N,), forces (N, 3) and the sum of the virials (3, 3)."""
        return self._engine._calculate(self._atoms)
