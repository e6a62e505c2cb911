"""Structures with their energies, forces and stresses from files of many programs."""

import warnings
from numbers import Integral

import numpy as np
from ase.io.formats import string2index
from tqdm import tqdm

from mlfeat.io._species import check_species
from mlfeat.io._structures_files import find_files, read_file
from mlfeat.io._structures_formats import Options, energy_key_in
from mlfeat.io._structures_keys import settle
from mlfeat.io._structures_stress import check_stress
from mlfeat.io._structures_summary import describe_structures
from mlfeat.neighbors import check_structures
from mlfeat.targets import get_groups

__all__ = ["read_structures"]


def read_structures(
    path,
    index=":",
    format=None,
    *,
    energy_key=None,
    forces_key=None,
    stress_key=None,
    virial_key=None,
    species=None,
    units=None,
    shear_order=None,
    group=None,
    check=True,
    progress=False,
):
    """Read structures with their energies, forces and stresses.

    Parameters
    ----------
    path : str, path-like, or list of them
        A file, a folder, or a pattern such as ``"runs/*/OUTCAR"``. The files of a pattern, and those of a folder and of
        all folders in it that have one of the formats below, are read in the order of their names; of a
        ``vasprun.xml`` and an ``OUTCAR`` in one folder, the former only.
    index : int, slice or str, default=":"
        Which structures of each file: ``-1`` or ``"-10::2"``, as for `ase.io.read`.
    format : str, default=None
        A name of the table, or one of ASE's. None: as each file begins, and else as ASE finds.
    energy_key, forces_key, stress_key, virial_key : str, default=None
        Names of the quantities in the file, where they are not usual ones. ``"energy"`` or ``"free_energy"`` for VASP;
        for a dump the column of the atoms' energies, as ``"c_pe"``, and what is before ``[1]`` in those of their
        stresses, as ``"c_stress"`` of ``compute stress/atom NULL virial``.
    species : sequence of str, default=None
        Elements of the types of a dump (from 1) or of MLIP's file (from 0), where it does not name them.
    units : str, default=None
        LAMMPS' name of the units of a dump or of n2p2's file, ``"metal"`` (eV, Å) or ``"electron"`` (Hartree, Bohr) for
        example. None: "metal", unless a dump says its own.
    shear_order : sequence of str, or dict, default=None
        What the last three numbers of ``virial_stress`` in JSON are, ``("xy", "xz", "yz")`` for example; or a dict with
        one for each group. None: VASP's, ``("xy", "yz", "xz")``. The published files do not agree; `check_stress`
        tells.
    group : str, default=None
        Group of all structures. None: see below.
    check : bool, default=True
        Whether to look for what is missing, and to compare stresses with energies group by group, see `check_stress`.
    progress : bool or None, default=False
        Whether a progress bar over files is drawn on stderr; None draws it on a terminal only.

    Returns
    -------
    list of ase.Atoms
        With a `SinglePointCalculator` each, which has ``energy`` (eV), ``forces`` (eV/Å) and ``stress`` (eV/Å³,
        positive under tension, xx yy zz yz xz xy) as far as the file has them. ``info["source"]`` is the file and the
        number of the structure in it, ``train.xyz@5``, unless the file has a source; ``info["group"]`` is what the file
        says (``group`` or ``config_type``), or else the file or folder right in the folder `path`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a file is truncated, damaged or of an unknown format, has numbers that are not finite, or no structure of
        this index; or if a key is in none of the structures. The message names the file and the structure, and how to
        read those before it.

    Warns
    -----
    UserWarning
        If there are structures without energies, or forces or stresses that others have; if a file has two numbers for
        one quantity; if stresses contradict energies.

    See Also
    --------
    describe_structures : What was read, and what is missing.
    check_stress : Sign, unit and order of the stresses.
    mlfeat.make_targets : What potentials learn from.

    Notes
    -----
    What files have, and what becomes of it:

    ====================  ================================  ==================  =================================
    format                file                              energy              stress
    ====================  ================================  ==================  =================================
    ``extxyz``            extended XYZ: eV, eV/Å            ``energy``          ``stress``: as ASE, eV/Å³; or
                                                                                ``virial``: −V times it, eV
    ``vasp-xml``          vasprun.xml, all ionic steps      free energy         kbar, positive under compression
    ``vasp-out``          OUTCAR, all ionic steps           free energy, TOTEN  the same, xx yy zz xy yz xz
    ``maml``              JSON of pymatgen structures, as   ``energy``          ``virial_stress``: kbar, as VASP's,
                          of mlearn and maml: eV, eV/Å                          in `shear_order`
    ``lammps-dump-text``  LAMMPS dump, `units`              sum of ``c_pe`` or  `stress_key`: pressure · volume,
                                                            `energy_key`        positive under tension
    ``n2p2``              input.data of n2p2 and RuNNer,    ``energy``          none
                          `units`
    ``mlip``              MLIP's .cfg: eV, eV/Å             ``Energy``          ``PlusStress``: −V times it, eV
    ``db``, ``json``      ASE's databases                   ``energy``          as ASE
    ====================  ================================  ==================  =================================

    The free energy of VASP contains that of the smeared electrons. Forces and stresses are its derivatives, not those
    of the energy extrapolated to zero width (σ → 0), which ``energy_key="energy"`` reads.

    Usual names are energy, forces or force, stress, virial or virials, with dft, ref, REF, qm, vasp … and an underscore
    before or behind them, in small or capital letters. The plain one counts first; a stress before a virial.

    Examples
    --------
    >>> structures = read_structures("runs/*/OUTCAR", index=-1)  # doctest: +SKIP
    >>> print(describe_structures(structures))  # doctest: +SKIP
    """
    index = _as_index(index, path)
    options = Options(None if species is None else check_species(species), units, shear_order, energy_key, stress_key)
    keys = {"energy": energy_key, "forces": forces_key, "stress": stress_key, "virial": virial_key}
    structures, differing = [], {}
    files = find_files(path, format)
    for file, name, own_group in tqdm(files, unit="file", disable=None if progress is None else not progress):
        own_keys = keys | {"energy": energy_key_in(name, energy_key)}
        for number, atoms in read_file(file, name, index, options):
            for pair in _settle(atoms, own_keys, file, number):
                differing.setdefault(pair, f"{file}@{number}")
            _label(atoms, f"{file}@{number}", group, own_group)
            structures.append(atoms)
    _check_keys(keys, structures, path)
    for (taken, other), where in differing.items():
        _warn(f"{where}: {taken!r} and {other!r} differ; {taken!r} is taken, name the other by its key if you want it")
    if check:
        _warn_of_missing(structures)
        warn_of_stress(structures, stacklevel=3)
    return structures


def warn_of_stress(structures, stacklevel=2):
    """Warn of each group whose stresses contradict energies, see `check_stress`; `stacklevel` is that of the caller."""
    groups = get_groups(structures)
    for group in np.unique(groups):
        chosen = np.flatnonzero(groups == group)
        for message in check_stress([structures[k] for k in chosen]).contradictions:
            place = f"group {str(group)!r}: " if group else ""
            warnings.warn(place + message, UserWarning, stacklevel=stacklevel + 1)


def _as_index(index, path):
    found = string2index(index) if isinstance(index, str) else index
    if not isinstance(found, Integral | slice):
        raise ValueError(f"{path}: index={index!r}: should be a number or a slice, as in '-10:'")
    return found


def _settle(atoms, keys, file, number):
    try:
        check_structures([atoms])
        return settle(atoms, keys)
    except ValueError as error:
        raise ValueError(f"structure {number} of {file}: {str(error).removeprefix('structure 0: ')}") from error


def _label(atoms, source, group, own_group):
    atoms.info.setdefault("source", source)
    found = atoms.info.get("group", atoms.info.get("config_type", own_group))
    if group is not None or found is not None:
        atoms.info["group"] = str(found) if group is None else group


def _check_keys(keys, structures, path):
    for name, key in keys.items():
        result = "stress" if name == "virial" else name
        if key is not None and not any(result in getattr(atoms.calc, "results", {}) for atoms in structures):
            raise ValueError(f"{path}: no structure has {key!r}, which {name}_key asks for; {_names(structures)}")


def _names(structures):
    names = sorted({str(k) for a in structures[:1] for k in (*a.info, *a.arrays)} - {"numbers", "positions", "source"})
    return f"the first one has {', '.join(names) or 'nothing'}" + " beside its atoms"


def _warn_of_missing(structures):
    summary = describe_structures(structures)
    for name, indices in summary.missing.items():
        if len(indices) == len(structures):
            if name == "energy":
                _warn(f"no structure has an energy; {_names(structures)}, if one is the energy, name it by energy_key")
        elif len(indices):
            _warn(f"{len(indices)} of {len(structures)} structures have no {name}: {summary.listed(name)}")


def _warn(message):
    warnings.warn(message, UserWarning, stacklevel=4)
