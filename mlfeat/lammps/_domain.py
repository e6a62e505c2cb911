"""What a rank of LAMMPS knows of the structure."""

import ase
import numpy as np

from mlfeat.neighbors import NeighborPairs

_EDGE = 1e-6  # of the reach: rounding puts no atom that LAMMPS left out inside


class Domain:
    """The atoms that a rank knows, each once, and their pairs.

    The rank's own atoms come first. Those of other ranks follow, by the first of their ghosts: the other ghosts, and
    those of the rank's own atoms, are periodic images of what is there already.

    Parameters
    ----------
    lmp : lammps.lammps
        LAMMPS with a box.
    comm : mpi4py.MPI.Comm or None
        None on a single rank.
    numbers : int array of shape (n_types + 1,)
        Atomic number of each type.
    cutoff : float
        Radius of the model's environments, Å.
    skin : float
        What lists of pairs reach beyond it, Å.
    """

    def __init__(self, lmp, comm, numbers, cutoff, skin):
        self.lmp, self.comm, self.numbers_of_types, self.cutoff, self.skin = lmp, comm, numbers, cutoff, skin
        self._rows = None  # of the atoms, among LAMMPS'
        self._built = self._exchanged = None  # the last list, and that of LAMMPS' last exchange of atoms

    @property
    def reach(self):
        """How far beyond its box a rank must know ghosts, Å: half a skin more than until the next exchange."""
        return 2 * (self.cutoff + self.skin)

    def update(self, n_local):
        """Pairs at the atoms' present positions. All ranks call it.

        Parameters
        ----------
        n_local : int
            Number of the rank's own atoms.

        Returns
        -------
        NeighborPairs or None
            With the pairs of the rank's own atoms, and of other atoms that are neighbors of these. None if the rank
            has no atoms of its own.

        Raises
        ------
        ValueError
            If the ghosts do not reach as far as they must, or if atoms have moved further than LAMMPS may let them
            before it exchanges atoms.
        """
        box = _Box(self.lmp)
        exchanged = self.lmp.extract_setting("neigh_ago") <= 0  # -1 where LAMMPS does not tell
        if exchanged or self._rows is None:
            self._built = self._exchanged = None
            self._find_rows(n_local, box)
        if n_local == 0:
            return None
        positions = self._atoms("x", dim=3)[self._rows] - box.low
        if self._exchanged is not None and self.comm is not None:
            self._check_drift(positions, box)
        if self._built is not None and self._built.covers(positions, box.cell, self.cutoff):
            return self._built.moved(positions, box.cell)
        self._built = self._build(n_local, positions, box)
        self._exchanged = self._exchanged or self._built
        return self._built

    def _atoms(self, name, dim=1):
        """A quantity of all atoms, the rank's own and ghosts."""
        n_atoms = self.lmp.extract_setting("nlocal") + self.lmp.extract_setting("nghost")
        return self.lmp.numpy.extract_atom(name, nelem=n_atoms, dim=dim)

    def _find_rows(self, n_local, box):
        if self.comm is None:
            self._rows = np.arange(n_local)
            return
        ids = self._atoms("id")
        known, rows = np.unique(ids, return_index=True)
        self._rows = np.sort(rows)
        fractions = (self._atoms("x", dim=3)[:n_local] - box.low) @ box.inverse
        everyone = self.comm.allgather((ids[:n_local].copy(), fractions))
        all_ids, fractions = (np.concatenate(part) for part in zip(*everyone, strict=True))
        missing = np.setdiff1d(all_ids[box.contains(fractions, self.reach * (1 - _EDGE))], known)
        if len(missing):
            raise ValueError(
                f"LAMMPS' ghosts do not reach {self.reach:g} Å, twice the cutoff and the skin: {len(missing)} atoms "
                f"are missing, that with id {missing[0]} for one; leave `comm_modify cutoff` as it was set when the "
                "model was attached"
            )

    def _check_drift(self, positions, box):
        # Half a skin less than the list's reach is twice half a skin and more for the ghosts, which reach further.
        if not self._exchanged.covers(positions, box.cell, self.cutoff - 0.5 * self.skin):
            raise ValueError(
                "atoms moved too far since LAMMPS last exchanged them between ranks; leave `neighbor` and "
                "`neigh_modify` as they were set when the model was attached, and look at the time step"
            )

    def _build(self, n_local, positions, box):
        numbers = self.numbers_of_types[self._atoms("type")[self._rows]]
        atoms = ase.Atoms(numbers, positions, cell=box.cell, pbc=box.periodic)
        pairs = NeighborPairs.from_atoms(atoms, self.cutoff + self.skin)
        needed = np.zeros(len(atoms), dtype=bool)
        needed[:n_local] = True
        needed[pairs.second[: pairs.offsets[n_local]]] = True
        if needed.all():
            return pairs
        kept = needed[pairs.first]
        topology = (part[kept] for part in (pairs.first, pairs.second, pairs.shifts))
        return NeighborPairs(numbers, positions, box.cell, box.periodic, *topology, pairs.cutoff)


class _Box:
    """LAMMPS' box, and the part of it that is the rank's."""

    def __init__(self, lmp):
        get = lmp.extract_global
        self.low, high = np.array(get("boxlo")), np.array(get("boxhi"))
        self.cell = np.diag(high - self.low)
        self.cell[[1, 2, 2], [0, 0, 1]] = get("xy"), get("xz"), get("yz")
        self.periodic = np.array(get("periodicity"), dtype=bool)
        self._lmp = lmp

    @property
    def inverse(self):
        """A vector v is ``v @ inverse`` in fractions of the cell."""
        return np.linalg.inv(self.cell)

    def contains(self, fractions, reach):
        """Which atoms are within `reach` (Å) of the rank's part along each direction, or an image of them is."""
        get = self._lmp.extract_global
        if self._lmp.extract_setting("triclinic"):
            low, high = np.array(get("sublo_lambda")), np.array(get("subhi_lambda"))
        else:
            low, high = ((np.array(get(name)) - self.low) / np.diag(self.cell) for name in ("sublo", "subhi"))
        margins = reach * np.linalg.norm(self.inverse, axis=0)  # over the distances of the cell's faces
        first, last = low - margins - fractions, high + margins - fractions
        periodic = np.ceil(first) <= np.floor(last)
        return np.where(self.periodic, periodic, (first <= 0) & (last >= 0)).all(axis=1)
