"""QUIP through quippy, and its program ``gap_fit``, as peers to compare and to time against.

Needs the package ``quippy-ase`` of the `peers` extra. One thread.
"""

import os
import subprocess
import time
from importlib import metadata, util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import ase.io
from ase import Atoms

EVALUATED = ("energy", "energies", "forces", "stress")


def available():
    """Whether quippy is installed."""
    return util.find_spec("quippy") is not None


def version():
    """quippy's version."""
    return metadata.version("quippy-ase")


def calculator(path):
    """ASE calculator of a GAP that gives all of `EVALUATED` in one evaluation.

    Parameters
    ----------
    path : path-like
        The ``gap.xml``, with its sparse files beside it.

    Returns
    -------
    quippy.potential.Potential
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from quippy.potential import Potential

    path = Path(path).resolve()
    before = Path.cwd()
    os.chdir(path.parent)  # QUIP looks for the sparse files in the working directory
    try:
        potential = Potential(param_filename=path.name)
    finally:
        os.chdir(before)
    potential.set_default_properties(list(EVALUATED))
    return potential


class Fit(NamedTuple):
    """What a fit took."""

    wall: float  # s
    cpu: float  # s
    peak: float  # resident memory, GiB; on Linux no less than that of the process that called


def fit(structures, soap, sigmas, path):
    """Fit a GAP to energies, forces and stresses with ``gap_fit``.

    Parameters
    ----------
    structures : list of ase.Atoms
        With their energies, forces and stresses.
    soap : str
        The descriptor and its kernel, as ``gap_fit`` has it behind ``soap``.
    sigmas : tuple of 3 float
        Of energies (eV/atom), forces (eV/Å) and virials (eV/atom).
    path : path-like
        The ``gap.xml`` to write.

    Returns
    -------
    Fit

    Raises
    ------
    subprocess.CalledProcessError
        If ``gap_fit`` fails; its last words are the message.
    """
    command = [
        str(Path(util.find_spec("quippy").origin).with_name("gap_fit")),
        "atoms_filename=train.xyz",
        f"gap={{soap {soap}}}",
        f"default_sigma={{{' '.join(map(str, sigmas))} 0.0}}",
        "e0_method=average",
        "energy_parameter_name=energy",
        "force_parameter_name=force",
        "virial_parameter_name=virial",
        "sparse_jitter=1e-8",
        "do_copy_at_file=F",
        "rnd_seed=1",
        f"gp_file={Path(path).resolve()}",
    ]
    with TemporaryDirectory() as folder:
        ase.io.write(Path(folder) / "train.xyz", [_renamed(atoms) for atoms in structures], format="extxyz")
        return _run(command, folder)


def _renamed(atoms):
    """The structure with names of energy, forces and virial that ASE leaves alone."""
    plain = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    plain.info["energy"] = atoms.get_potential_energy()
    plain.info["virial"] = -atoms.get_volume() * atoms.get_stress(voigt=False)
    plain.arrays["force"] = atoms.get_forces()
    return plain


def _run(command, folder):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    log = Path(folder) / "log.txt"
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, log.read_text(errors="replace")[-2000:])
    return Fit(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)
