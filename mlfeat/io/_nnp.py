"""Neural network potentials from and to the files of n2p2."""

import errno
import shutil
import uuid
from pathlib import Path

from ase.data import atomic_numbers
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

import mlfeat
from mlfeat._archive import write_atomically
from mlfeat.base import split_model
from mlfeat.io import _nnp_export as export
from mlfeat.io._nnp_import import make_descriptor, make_potential, make_scaler, read_network
from mlfeat.io._nnp_reader import read_settings
from mlfeat.io._nnp_settings import by_atomic_number, format_settings, in_file_order
from mlfeat.io._nnp_text import format_scaling, format_weights

__all__ = ["read_nnp", "write_nnp"]

# CODATA 2018, in Å and eV.
LENGTH_UNITS = {"bohr": 0.529177210903, "angstrom": 1.0}
ENERGY_UNITS = {"hartree": 27.211386245988, "eV": 1.0}

SETTINGS, SCALING = "input.nn", "scaling.data"


def read_nnp(folder, *, length_unit="bohr", energy_unit="hartree"):
    r"""Read a neural network potential from n2p2's files.

    The model gives what n2p2 gives with these files,

    .. math:: E = u_E \sum_i \Bigl[\frac{1}{c_E} \mathrm{NN}_{s_i}(G'_i) + \bar e + a_{s_i}\Bigr],

    with u_E the unit of energy, a the ``atom_energy`` of the element, and c_E = 1 and ē = 0 but for potentials with a
    normalized data set, which have ``conv_energy`` and ``mean_energy``.

    Parameters
    ----------
    folder : str or path-like
        The folder with ``input.nn``, ``scaling.data`` and one ``weights.ZZZ.data`` for each element, with ZZZ its
        atomic number; or the path of that ``input.nn``.
    length_unit : {"bohr", "angstrom"}, default="bohr"
        Unit of lengths in the files, which do not name it. Of published potentials it is bohr, nearly always.
    energy_unit : {"hartree", "eV"}, default="hartree"
        Unit of energies in the files.

    Returns
    -------
    Pipeline
        Fitted: `ACSF`, `FeatureScaler`, then `NeuralNetworkPotential`. The ranges of the features in ``scaling.data``
        are those beyond which the model extrapolates.

    Raises
    ------
    ValueError
        If a file is truncated, foreign or damaged, does not belong to the others, or holds a keyword or a kind of
        symmetry function that is not known. The message names the file and the line.
    FileNotFoundError
        If one of the files is not there.

    See Also
    --------
    write_nnp : Write the files.

    Notes
    -----
    Read are the keywords ``number_of_elements``, ``elements``, ``atom_energy``, ``cutoff_type``,
    ``symfunction_short`` of the types 2, 3 and 9, ``scale_symmetry_functions``, ``center_symmetry_functions``,
    ``scale_symmetry_functions_sigma``, ``scale_min_short``, ``scale_max_short``, ``global_hidden_layers_short``,
    ``global_nodes_short``, ``global_activation_short`` and the same with ``element_`` in place of ``global_``,
    ``normalize_nodes``, ``mean_energy``, ``conv_energy``, ``conv_length`` and ``nnp_type``, and n2p2's synonyms of
    them. Those of training that have a counterpart become parameters of the `NeuralNetworkPotential`, so that another
    fit of the model uses them: ``epochs``, ``random_seed``, ``updater_type``, ``use_short_forces``, ``kalman_*``,
    ``gradient_adam_eta``, ``energy_fraction``, ``force_fraction``, ``rmse_threshold_energy``,
    ``rmse_threshold_force`` and ``rmse_threshold_trials``. Energies of atoms are those of the file in another fit too:
    `intercept` is ``{symbol: u_E (a + ē)}``. ``force_weight`` has no counterpart: n2p2 weighs it against energies
    of structures, mlfeat against energies of atoms. Other keywords of training have no effect. All others are refused;
    among them, since n2p2 does not know them either, RuNNer's ``global_symfunction_short`` and
    ``element_symfunction_short``.

    n2p2 takes the number of nodes in the last hidden layer from ``global_nodes_short``, even where
    ``element_nodes_short`` gives another one. Whichever the weights agree with is taken here.

    References
    ----------
    A. Singraber, J. Behler, C. Dellago, J. Chem. Theory Comput. 15, 1827 (2019). n2p2:
    https://compphysvienna.github.io/n2p2.

    Examples
    --------
    >>> model = read_nnp("Mo")  # doctest: +SKIP
    >>> atoms.calc = PotentialCalculator(model)  # doctest: +SKIP
    """
    length, energy = _unit("length_unit", length_unit, LENGTH_UNITS), _unit("energy_unit", energy_unit, ENERGY_UNITS)
    folder = _folder(folder)
    path = _existing(folder / SETTINGS)
    settings = read_settings(path)
    descriptor = make_descriptor(path, settings, length)
    orders = [in_file_order(functions) for functions in descriptor.functions_]
    scaler = make_scaler(_existing(folder / SCALING), settings, orders)
    pairs = zip(settings.elements, orders, strict=True)
    networks = [read_network(folder, settings, symbol, order) for symbol, order in pairs]
    return make_pipeline(descriptor, scaler, make_potential(settings, networks, scaler, energy))


def write_nnp(model, folder, *, length_unit="bohr", energy_unit="hartree"):
    """Write a neural network potential as files for n2p2 and LAMMPS' ``pair_style hdnnp``.

    Parameters
    ----------
    model : Pipeline
        Fitted: `ACSF`, then any of `FeatureSelector` and one `FeatureScaler`, then `NeuralNetworkPotential`.
    folder : str or path-like
        The folder to write to, or the path of ``input.nn`` in it. It is made if it is not there; the folder that it
        is in has to be there.
    length_unit : {"bohr", "angstrom"}, default="bohr"
        Unit of lengths in the files.
    energy_unit : {"hartree", "eV"}, default="hartree"
        Unit of energies in the files.

    Returns
    -------
    tuple of pathlib.Path
        ``input.nn``, ``scaling.data`` and one ``weights.ZZZ.data`` for each element. Older files of these names are
        replaced, all of them or none.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    FileNotFoundError
        If the folder that is to hold the new one does not exist.
    TypeError
        If the descriptor or the potential is none that n2p2's files can hold.
    ValueError
        If the files cannot hold another part of the model: a baseline, other steps, an activation function that n2p2
        does not have, as "silu", different numbers of hidden layers for different elements, an element without
        functions; or if weights are not finite. Nothing is written then.

    See Also
    --------
    read_nnp : Read the files.

    Notes
    -----
    Numbers are written with all their digits. The lines for LAMMPS, with ``units metal``, are in a comment at the top
    of ``input.nn``.

    The mean of several networks is written as one with all of their nodes, whose other weights are zero. Where
    elements have different numbers of nodes in their last hidden layers, the smaller ones get nodes of no effect, since
    n2p2 has one number for all. n2p2's keywords stand for the scalings that the table of `FeatureScaler` lists; any
    other becomes part of the weights. A feature that did not vary in training is written with a range of one, as
    n2p2 would divide by zero.

    The range of each function in ``scaling.data``, of which n2p2 warns, is that of the scaler, or without one that of
    the potential.

    Examples
    --------
    >>> write_nnp(model, "Mo")  # doctest: +SKIP
    (PosixPath('Mo/input.nn'), PosixPath('Mo/scaling.data'), PosixPath('Mo/weights.042.data'))
    """
    length, energy = _unit("length_unit", length_unit, LENGTH_UNITS), _unit("energy_unit", energy_unit, ENERGY_UNITS)
    check_is_fitted(model)
    descriptor, steps, potential = split_model(model)
    export.check_writable(descriptor, potential)
    inputs = export.find_inputs(descriptor, steps, potential)
    species, folder = descriptor.species_, _folder(folder)
    elements = export.align(
        [export.make_element(descriptor, potential, inputs, s, length, energy) for s in range(len(species))]
    )
    title = f"Neural network potential, written by mlfeat {mlfeat.__version__}."
    usage = [
        f"Lengths are in {length_unit}, energies in {energy_unit}. In LAMMPS, with units metal:",
        *export.lammps_commands(folder, descriptor, length, energy),
    ]
    order = by_atomic_number(species)
    settings = export.make_settings(descriptor, potential, inputs, elements, energy)
    texts = {
        SETTINGS: format_settings(settings, [title, *usage]),
        SCALING: format_scaling([elements[s].statistics for s in order], [title]),
    } | {
        f"weights.{atomic_numbers[species[s]]:03d}.data": format_weights(
            elements[s].network.weights, elements[s].network.biases, [title, f"Network of {species[s]}."]
        )
        for s in order
    }
    return _write_folder(folder, texts)


def _unit(name, value, table):
    if value not in table:
        raise ValueError(f"{name}={value!r}: must be one of {', '.join(map(repr, table))}.")
    return table[value]


def _folder(path):
    path = Path(path)
    return path.parent if path.name == SETTINGS else path


def _existing(path):
    if not path.is_file():
        raise FileNotFoundError(
            errno.ENOENT,
            f"there is no such file; a potential of n2p2 is a folder with {SETTINGS}, {SCALING} and weights.ZZZ.data",
            str(path),
        )
    return path


def _write_folder(folder, texts):
    """Write files whole, all or none; an older input.nn goes first and the new one comes last."""
    home = folder.absolute()
    if not home.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder.parent}; create it first", str(folder))
    if home.exists() and not home.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "this is a file; name another folder", str(folder))
    place = home if home.exists() else home.parent
    staging = place / f".{home.name}.{uuid.uuid4().hex}.tmp"
    staging.mkdir()
    try:
        for name, text in texts.items():
            write_atomically(staging / name, text.encode())
        if home.exists():
            (home / SETTINGS).unlink(missing_ok=True)
            for name in reversed(texts):
                (staging / name).replace(home / name)
        else:
            staging.rename(home)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return tuple(folder / name for name in texts)
