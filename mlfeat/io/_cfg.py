"""Structures from and to MLIP's ``.cfg`` files."""

import re
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers

from mlfeat._archive import write_atomically
from mlfeat.io._cfg_text import CARTESIAN, DIRECT, ENCODING, ESCAPES, FORCES, GRADES, RESULTS, VOIGT, read_records
from mlfeat.io._species import check_species
from mlfeat.neighbors import check_structures
from mlfeat.targets import _calculated, _forces, _stress

__all__ = ["read_cfg", "write_cfg"]

# MLIP keeps features that it does not know: with this one, a file says which element each of its types is.
_NAMES = "species_of_types"
_LOGICAL = {"True": True, "False": False}


def read_cfg(path, species=None):
    """Read structures, with their energies, forces and stresses, from MLIP's configuration file.

    Parameters
    ----------
    path : str or path-like
        The ``.cfg`` file.
    species : sequence of str, default=None
        Elements of the file's types 0, 1, 2, … in this order. None: as the file says, which only files of `write_cfg`
        do.

    Returns
    -------
    list of ase.Atoms
        Positions and cells in Å; what was calculated is the structures' calculator's (a `SinglePointCalculator`), where
        :func:`mlfeat.make_targets` and ASE's writers look for it: ``energy`` (eV), ``forces`` (eV/Å), ``stress``
        (eV/Å³), and, if the file has them, ``energies`` (eV) and ``charges`` of atoms. Features are in ``atoms.info``:
        numbers and truth values (True, False) as such, others as text. Extrapolation grades of atoms are
        ``atoms.arrays["nbh_grades"]``.

    Raises
    ------
    ValueError
        If the file is truncated, foreign or damaged, has a field or column that is not known, or types without an
        element. The message names the structure's index, the file, and the line.

    See Also
    --------
    write_cfg : Write such a file.

    Notes
    -----
    A structure is periodic along the vectors that ``Supercell`` gives, none to three; one of zeros stands for a
    direction that is not periodic. ``PlusStress`` is −V times the stress in ASE's sign, in eV; without three vectors
    there is no volume, V, and the structure has no stress.

    Examples
    --------
    >>> structures = read_cfg("train.cfg", species=["Nb", "Mo", "Ta", "W"])  # doctest: +SKIP
    >>> targets = make_targets(structures)  # doctest: +SKIP
    """
    return list(iter_cfg(path, species))


def iter_cfg(path, species=None):
    """Yield the structures of `read_cfg`, one after the other."""
    species = None if species is None else check_species(species)
    for index, record in enumerate(read_records(path)):
        try:
            atoms = _make_atoms(record, species)
        except ValueError as error:
            raise ValueError(f"structure {index} of {error}") from error
        yield atoms


def write_cfg(path, structures, species=None):
    """Write structures, with their energies, forces and stresses, as MLIP's configuration file.

    Parameters
    ----------
    path : str or path-like
        The file; an older one is replaced once the new one is complete.
    structures : list of ase.Atoms
        Of each are written: the energy, forces and stress that :func:`mlfeat.make_targets` finds, if there are any;
        ``energies`` and ``charges`` of atoms that its calculator holds; ``atoms.arrays["nbh_grades"]``; as features,
        the numbers, truth values and texts of ``atoms.info``, but not its arrays and tables.
    species : sequence of str, default=None
        Elements of the types 0, 1, 2, …, in the order of the potential. None: those of the structures, sorted by their
        symbols.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    TypeError
        If it is not a list of structures.
    ValueError
        If a structure has an element that is not among the species, or numbers that are not finite. The message names
        the structure's index. Nothing is written then.
    FileNotFoundError
        If the folder does not exist.

    See Also
    --------
    read_cfg : Read such a file.

    Notes
    -----
    Numbers are written with all their digits, so that the same structures are read back. The file has no place for
    vectors of a cell along which it is not periodic; nor for the stress of a structure that is not periodic along all
    three. A stress that does not come from such a file may change by the rounding of its product with the volume. A
    text of ``atoms.info`` loses the blanks around its lines, and becomes a number if it looks like one.

    A feature of each structure, ``species_of_types``, names the species; programs that do not know it pass it on.

    Examples
    --------
    >>> write_cfg("train.cfg", structures, species=["Nb", "Mo", "Ta", "W"])  # doctest: +SKIP
    PosixPath('train.cfg')
    """
    structures = check_structures(structures)
    symbols = {symbol for atoms in structures for symbol in atoms.symbols}
    species = sorted(symbols) if species is None else check_species(species)
    lines = []
    for index, atoms in enumerate(structures):
        unknown = sorted(set(atoms.symbols) - set(species))
        if unknown:
            raise ValueError(
                f"structure {index} has {', '.join(unknown)}, but species is {', '.join(species)}; add what is missing "
                "or remove the structure."
            )
        lines += _format_record(atoms, index, list(species))
    return write_atomically(Path(path), "\n".join([*lines, ""]).encode(**ENCODING))


# --- reading -------------------------------------------------------------------------------------


def _make_atoms(record, species):
    columns, features = record.columns, dict(record.features)
    names = features.pop(_NAMES, None)
    pbc = record.cell.any(axis=1)
    positions = _stack(columns, CARTESIAN if CARTESIAN[0] in columns else DIRECT)
    if DIRECT[0] in columns:
        if not pbc.all():
            raise record.line.error("direct coordinates need the three vectors of Supercell.")
        positions = positions @ record.cell
    symbols = _symbols(record, columns.get("type", [0] * len(positions)), names, species)
    atoms = Atoms(symbols, positions, cell=record.cell, pbc=pbc)
    atoms.info.update({key: _parse(text) for key, text in features.items()})
    if GRADES in columns:
        atoms.set_array(GRADES, np.array(columns[GRADES]))
    results = {name: np.array(columns[column]) for name, column in RESULTS.items() if column in columns}
    if record.energy is not None:
        results["energy"] = record.energy
    if FORCES[0] in columns:
        results["forces"] = _stack(columns, FORCES)
    if record.virial is not None and pbc.all():
        results["stress"] = -np.array(record.virial) / atoms.get_volume()
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _stack(columns, names):
    return np.column_stack([columns[name] for name in names])


def _symbols(record, types, names, species):
    """The element of each atom."""
    if names is not None:
        given = tuple(names.split(","))
        if species is not None and species != given:
            raise record.line.error(f"species is {', '.join(species)}, but {_NAMES} of the structure is {names}.")
        species = given
    if species is None:
        raise record.line.error(
            "the file does not say which elements its types are; pass species, their symbols in order."
        )
    for k, kind in enumerate(types):
        if not 0 <= kind < len(species):
            raise record.line.error(
                f"atom {k + 1} of the structure that begins here is of type {kind}, but species has {len(species)}, "
                f"{', '.join(species)}, for types from 0; it should have as many as the file has types."
            )
        if atomic_numbers.get(species[kind], 0) < 1:
            raise record.line.error(f"{species[kind]!r} ({_NAMES}) is not the symbol of an element.")
    return [species[kind] for kind in types]


def _parse(text):
    """The value of a feature; what may be a name, such as 007 or 1e5, is text."""
    if re.fullmatch(r"-?(0|[1-9]\d{0,17})", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"-?\d+\.\d+([eE][+-]?\d+)?", text, re.ASCII):
        return float(text)
    return _LOGICAL.get(text, text)


# --- writing -------------------------------------------------------------------------------------


def _format_record(atoms, index, species):
    columns, virial = _columns(atoms, index, species), _virial(atoms, index)
    energy = _calculated(atoms, "energy")
    energy = atoms.info.get("energy") if energy is None else energy
    lines = ["BEGIN_CFG", " Size", f"    {len(atoms)}"]
    cell = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
    n_vectors = max(np.flatnonzero(cell.any(axis=1)), default=-1) + 1
    if n_vectors:
        lines += [" Supercell", *(f"    {_numbers(row)}" for row in cell[:n_vectors])]
    lines.append(f" AtomData:  {' '.join(columns)}")
    lines += [f"    {' '.join(row)}" for row in zip(*columns.values(), strict=True)]
    if energy is not None:
        lines += [" Energy", f"    {_number(float(_finite(energy, 'energy', index)))}"]
    if virial is not None:
        lines += [f" PlusStress:  {' '.join(VOIGT)}", f"    {_numbers(virial)}"]
    features = {_NAMES: ",".join(species)} | _features(atoms)
    lines += [f" Feature   {key}\t{part}" for key, text in features.items() for part in text.split("\n")]
    return [*lines, "END_CFG", ""]


def _columns(atoms, index, species):
    """Columns of AtomData, as texts."""
    types = [str(species.index(symbol)) for symbol in atoms.symbols]
    columns = {"id": map(str, range(1, len(atoms) + 1)), "type": types}
    columns |= zip(CARTESIAN, atoms.positions.T, strict=True)
    results = getattr(atoms.calc, "results", {})
    for name, column in RESULTS.items():
        if name in results:
            columns[column] = _finite(results[name], name, index)
    forces = _forces(atoms, index)
    if forces is not None:
        columns |= zip(FORCES, forces.T, strict=True)
    if GRADES in atoms.arrays:
        columns[GRADES] = _finite(atoms.arrays[GRADES], GRADES, index)
    return {name: values if name in ("id", "type") else map(_number, values) for name, values in columns.items()}


def _virial(atoms, index):
    """PlusStress, or None: of the numbers nearest to −V times the stress, one that is read as this stress."""
    stress = _stress(atoms, index)
    if not (atoms.pbc.all() and np.isfinite(stress).all()):
        return None
    volume = atoms.get_volume()
    virial = -stress * volume
    for neighbor in (np.nextafter(virial, np.inf), np.nextafter(virial, -np.inf)):
        better = (-virial / volume != stress) & (-neighbor / volume == stress)
        virial = np.where(better, neighbor, virial)
    return virial


def _features(atoms):
    """Texts of what a file can hold of ``atoms.info``; energies and stresses have their own fields."""
    features = {}
    for key, value in atoms.info.items():
        if isinstance(key, str) and key and key not in ("energy", "stress", _NAMES):
            text = _text(value.item() if isinstance(value, np.generic) else value)
            for character, escape in ESCAPES.items():
                key = key.replace(character, escape)
            if text is not None:
                features[key] = text
    return features


def _text(value):
    """Text of a feature, or None."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n")
    if isinstance(value, float):
        return _number(value) if np.isfinite(value) else None
    return str(value) if isinstance(value, int) else None


def _finite(values, name, index):
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).all():
        raise ValueError(f"structure {index}: {name} must be finite, got NaN or infinity; repair or remove it")
    return values


def _number(value):
    """All digits, without an exponent, which motep does not read."""
    return np.format_float_positional(value, trim="0")


def _numbers(values):
    return " ".join(map(_number, values))
