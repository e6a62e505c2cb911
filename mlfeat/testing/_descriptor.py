"""Laws of descriptors."""

import copy
import pickle

import numpy as np
from ase import Atoms
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from mlfeat.base import Descriptor
from mlfeat.neighbors import NeighborPairs
from mlfeat.testing import _structures as change
from mlfeat.testing._compare import (
    DERIVATIVE,
    ROUNDING,
    assert_close,
    assert_equal,
    assert_raises,
    named,
    per_structure,
    run_laws,
)
from mlfeat.testing._differences import central_difference, gradient

SKIN = 0.7  # Å


def check_descriptor(descriptor, structures=None, *, skip=()):
    """Check that a descriptor keeps the contract of :class:`mlfeat.base.Descriptor`.

    Every law of `DESCRIPTOR_LAWS` is checked on every structure: derivatives against central differences of order 4,
    overridden operations against the generic loops over the Jacobian, invariances, behavior at the cutoff, threads,
    scikit-learn's laws, errors on bad input.

    Parameters
    ----------
    descriptor : Descriptor
        Fitted or not; a clone of it is fitted to the structures.
    structures : dict of str to ase.Atoms, or list of ase.Atoms, default=None
        Default: :func:`awkward_structures` of the descriptor's `species`, or of Mo and Ni.
    skip : sequence of str, default=()
        Names of laws that the descriptor's settings break on purpose.

    Raises
    ------
    AssertionError
        Names all laws that do not hold, and of each the structure and the worst number.
    """
    descriptor, structures = prepare(descriptor, structures)
    run_laws(DESCRIPTOR_LAWS, descriptor, structures, skip)


def prepare(descriptor, structures=None):
    """Return a clone of the descriptor fitted to the structures, and the structures by name."""
    if structures is None:
        structures = change.awkward_structures(descriptor.species or ("Mo", "Ni"))
    structures = named(structures)
    return clone(descriptor).fit(list(structures.values())), structures


# --- Shape ----------------------------------------------------------------------------------------------------------


@per_structure
def values_are_one_row_an_atom(descriptor, atoms):
    pairs = _pairs(descriptor, atoms)
    values = descriptor.values(pairs)
    assert isinstance(values, np.ndarray), f"values are a {type(values).__name__}"
    assert values.dtype == np.float64, f"values are {values.dtype}"
    assert values.shape == (len(atoms), descriptor.n_features_out_), f"values have shape {values.shape}"
    assert np.isfinite(values).all(), "values are not finite"
    jacobian = descriptor.jacobian(pairs)
    expected = (pairs.n_pairs, 3, descriptor.n_features_out_)
    assert jacobian.shape == expected, f"jacobian has shape {jacobian.shape}, expected {expected}"


def features_have_names(descriptor, structures):
    names = descriptor.get_feature_names_out()
    assert len(names) == descriptor.n_features_out_, f"{len(names)} names for {descriptor.n_features_out_} features"
    assert len(set(names)) == len(names), "names are not unique"
    assert all(isinstance(name, str) for name in names), "names are not strings"


def transform_gives_the_values(descriptor, structures):
    features = descriptor.transform(list(structures.values()))
    assert features.shape == (len(structures), descriptor.n_features_out_), f"shape {features.shape}"
    sums = np.asarray(features)
    for k, atoms in enumerate(structures.values()):
        values = descriptor.values(_pairs(descriptor, atoms))
        assert_equal(features[k].values, values, f"values of item {k}")
        assert_close(sums[k], values.sum(axis=0), f"row {k} of the array")


def input_is_left_alone(descriptor, structures):
    for name, atoms in structures.items():
        before = atoms.copy()
        descriptor.transform([atoms])
        assert atoms == before, f"transform changed {name}"


# --- Derivatives ----------------------------------------------------------------------------------------------------


@per_structure
def jacobian_is_the_derivative_of_values(descriptor, atoms):
    """Of every component of every pair vector, the k-th pairs of all centers at once, as B_i has only its own pairs."""
    pairs = _pairs(descriptor, atoms)
    jacobian = descriptor.jacobian(pairs)
    numeric, error = np.zeros(jacobian.shape), np.zeros(jacobian.shape)
    for k in range(int(np.diff(pairs.offsets).max())):
        chosen = pairs.offsets[:-1] + k
        chosen = chosen[chosen < pairs.offsets[1:]]
        for x in range(3):
            unit = np.zeros((pairs.n_pairs, 3))
            unit[chosen, x] = 1.0
            slope, slope_error = central_difference(lambda t, u=unit: descriptor.values(_displaced(pairs, t * u)))
            numeric[chosen, x], error[chosen, x] = slope[pairs.first[chosen]], slope_error[pairs.first[chosen]]
    assert_close(jacobian, numeric, "jacobian[pair, xyz, feature]", rtol=DERIVATIVE, error=error)


@per_structure
def jacobian_comes_in_blocks_of_centers(descriptor, atoms):
    pairs = _pairs(descriptor, atoms)
    jacobian = descriptor.jacobian(pairs)
    for start, stop in {(0, 1), (0, len(atoms)), (len(atoms) // 2, len(atoms)), (len(atoms) - 1, None)}:
        end = len(atoms) if stop is None else stop
        block = jacobian[pairs.offsets[start] : pairs.offsets[end]]
        assert_close(descriptor.jacobian(pairs, start, stop), block, f"jacobian of centers {start}:{stop}")


@per_structure
def jvp_is_the_contracted_jacobian(descriptor, atoms):
    pairs, _, displacements = _with_tangents(descriptor, atoms)
    expected = np.zeros((len(atoms), descriptor.n_features_out_))
    np.add.at(expected, pairs.first, np.einsum("pxf,px->pf", descriptor.jacobian(pairs), displacements))
    assert_close(descriptor.jvp(pairs, displacements), expected, "jvp[atom, feature]")
    assert_close(Descriptor.jvp(descriptor, pairs, displacements), expected, "generic jvp[atom, feature]")


@per_structure
def vjp_is_the_contracted_jacobian(descriptor, atoms):
    pairs, cotangents, _ = _with_tangents(descriptor, atoms)
    expected = np.einsum("pxf,pf->px", descriptor.jacobian(pairs), cotangents[pairs.first])
    assert_close(descriptor.vjp(pairs, cotangents), expected, "vjp[pair, xyz]")
    assert_close(Descriptor.vjp(descriptor, pairs, cotangents), expected, "generic vjp[pair, xyz]")


@per_structure
def vjp_is_the_adjoint_of_jvp(descriptor, atoms):
    """<c, J u> = <Jᵀ c, u>."""
    pairs, cotangents, displacements = _with_tangents(descriptor, atoms)
    left = cotangents * descriptor.jvp(pairs, displacements)
    right = descriptor.vjp(pairs, cotangents) * displacements
    size = np.abs(left).sum() + np.abs(right).sum()
    difference = abs(left.sum() - right.sum())
    assert difference <= 1e-12 * size, f"<c, Ju> = {left.sum():.15g}, <Jᵀc, u> = {right.sum():.15g}"


@per_structure
def pullback_is_the_vjp(descriptor, atoms):
    """Also when it is called twice, or after another structure was evaluated."""
    pairs, cotangents, _ = _with_tangents(descriptor, atoms)
    values, pullback = descriptor.values_and_pullback(pairs)
    descriptor.values_and_pullback(_pairs(descriptor, change.translated(atoms[:1], 1.0)))[1](cotangents[:1])
    assert_close(values, descriptor.values(pairs), "values of values_and_pullback")
    for scale in (1.0, -2.0):
        expected = scale * descriptor.vjp(pairs, cotangents)
        assert_close(pullback(scale * cotangents), expected, "pullback[pair, xyz]")


@per_structure
def rows_are_the_contracted_jacobian(descriptor, atoms):
    pairs = _pairs(descriptor, atoms)
    rows = descriptor.rows(pairs)
    expected, terms = _contracted_rows(descriptor, pairs)
    if atoms.cell.rank < 3:
        assert np.isnan(rows[-6:]).all(), "stress rows are not NaN although there is no volume"
        rows, expected = rows[:-6], expected[:-6]
    n = 1 + 3 * len(atoms)
    for name, part in {"energy": slice(1), "force": slice(1, n), "stress": slice(n, None)}.items():
        assert_close(rows[part], expected[part], f"{name} rows", error=ROUNDING * terms)


@per_structure
def rows_are_derivatives_of_the_features(descriptor, atoms):
    """Row 0 and its central differences in every position (with a minus: forces) and every component of strain."""
    pairs = _pairs(descriptor, atoms, SKIN)
    rows = descriptor.rows(_pairs(descriptor, atoms))
    assert_close(rows[0], _energy_row(descriptor, pairs), "energy row")
    slope, error = gradient(lambda positions: _energy_row(descriptor, pairs.moved(positions)), pairs.positions)
    n = 3 * len(atoms)
    assert_close(
        rows[1 : 1 + n], -slope.reshape(n, -1), "force rows[3 atom + xyz]", rtol=DERIVATIVE, error=error.reshape(n, -1)
    )
    if atoms.cell.rank < 3:
        return
    slope, error = strain_derivative(lambda moved: _energy_row(descriptor, _pairs(descriptor, moved, SKIN)), atoms)
    volume = atoms.get_volume()
    assert_close(rows[-6:], slope / volume, "stress rows[Voigt]", rtol=DERIVATIVE, error=error / volume)


@per_structure
def moved_pairs_are_a_new_list(descriptor, atoms):
    """The features of a list with a skin whose atoms moved equal those of a list built anew."""
    step = np.random.default_rng(5).uniform(-1, 1, (len(atoms), 3)) * SKIN / 4
    moved = _pairs(descriptor, atoms, SKIN).moved(atoms.positions + step)
    built = _pairs(descriptor, change.translated(atoms, step))
    assert_close(descriptor.values(moved), descriptor.values(built), "values after a move")


# --- Invariances ----------------------------------------------------------------------------------------------------


@per_structure
def rotation_leaves_values(descriptor, atoms):
    """Rotations and reflections; the Jacobian turns along."""
    rng = np.random.default_rng(1)
    pairs = _pairs(descriptor, atoms)
    for proper in (True, False):
        rotation = change.random_rotation(rng, proper)
        turned = _displaced(pairs, pairs.vectors @ rotation.T - pairs.vectors)
        kind = "rotated" if proper else "reflected"
        assert_close(descriptor.values(turned), descriptor.values(pairs), f"{kind} values")
        jacobian = np.einsum("xy,pyf->pxf", rotation, descriptor.jacobian(pairs))
        assert_close(descriptor.jacobian(turned), jacobian, f"{kind} jacobian")
        built = _pairs(descriptor, change.rotated(atoms, rotation))
        assert_close(descriptor.values(built), descriptor.values(pairs), f"values of the {kind} structure")


@per_structure
def permutation_permutes_values(descriptor, atoms):
    order = np.random.default_rng(2).permutation(len(atoms))
    values = _values(descriptor, atoms)
    assert_close(_values(descriptor, atoms[order]), values[order], "values of permuted atoms")


@per_structure
def order_of_neighbors_does_not_count(descriptor, atoms):
    """Sums over the pairs of a center in reverse."""
    pairs = _pairs(descriptor, atoms)
    spans = zip(pairs.offsets[:-1], pairs.offsets[1:], strict=True)
    order = np.concatenate([np.arange(stop - 1, start - 1, -1) for start, stop in spans])
    reverse = NeighborPairs(
        pairs.numbers,
        pairs.positions,
        pairs.cell,
        pairs.pbc,
        pairs.first[order],
        pairs.second[order],
        pairs.shifts[order],
        pairs.cutoff,
    )
    assert_close(descriptor.values(reverse), descriptor.values(pairs), "values with pairs in reverse")
    assert_close(descriptor.jacobian(reverse), descriptor.jacobian(pairs)[order], "jacobian with pairs in reverse")


@per_structure
def translation_leaves_values(descriptor, atoms):
    moved = change.translated(atoms, [1.37, -0.82, 7.1])
    assert_close(_values(descriptor, moved), _values(descriptor, atoms), "values of the translated structure")


@per_structure
def choice_of_cell_leaves_values(descriptor, atoms):
    """Other lattice vectors of the same lattice, atoms moved by lattice vectors."""
    other = change.same_structure(atoms)
    assert_close(_values(descriptor, other), _values(descriptor, atoms), "values in another cell of the same lattice")


@per_structure
def supercell_repeats_values(descriptor, atoms):
    repeats = np.where(atoms.pbc, (2, 1, 2), 1)
    values = np.tile(_values(descriptor, atoms), (int(np.prod(repeats)), 1))
    assert_close(_values(descriptor, atoms.repeat(repeats)), values, "values of the supercell")


# --- Locality -------------------------------------------------------------------------------------------------------


@per_structure
def pairs_beyond_the_cutoff_do_not_count(descriptor, atoms):
    """A list with a skin gives the same values, and no derivative with respect to its additional pairs."""
    pairs, wide = _pairs(descriptor, atoms), _pairs(descriptor, atoms, SKIN)
    inside = wide.distances < descriptor.cutoff_
    cotangents = _tangents(descriptor, wide)[0]
    assert_close(descriptor.values(wide), descriptor.values(pairs), "values with a skin")
    jacobian = np.zeros((wide.n_pairs, 3, descriptor.n_features_out_))
    jacobian[inside] = descriptor.jacobian(pairs)
    assert_close(descriptor.jacobian(wide), jacobian, "jacobian with a skin")
    expected = np.zeros((wide.n_pairs, 3))
    expected[inside] = descriptor.vjp(pairs, cotangents)
    assert_close(descriptor.vjp(wide, cotangents), expected, "vjp with a skin")
    assert_close(descriptor.values_and_pullback(wide)[1](cotangents), expected, "pullback with a skin")


@per_structure
def far_atoms_do_not_interact(descriptor, atoms):
    """Two clusters further apart than the cutoff have the features that each has alone."""
    atoms = change.without_cell(atoms)
    other = change.translated(atoms[::-1], [np.ptp(atoms.positions, axis=0).max() + 3 * descriptor.cutoff_, 0.3, 0.1])
    expected = np.concatenate([_values(descriptor, atoms), _values(descriptor, other)])
    assert_close(_values(descriptor, atoms + other), expected, "values of two clusters")


def neighbors_leave_smoothly(descriptor, structures):
    """Values and first derivatives are continuous as a neighbor comes and goes.

    A neighbor moves away from an atom that has another one. On a grid eight times finer the largest jump between
    adjacent points must be smaller, by eight where the function is smooth; a discontinuity would keep its size.
    """
    for center in descriptor.species_:
        for leaving in descriptor.species_:
            what = f"{leaving} leaving {center}"
            coarse, _ = _leaving(descriptor, center, leaving, 150)
            fine, scale = _leaving(descriptor, center, leaving, 1200)
            for order, name in enumerate(("value", "first derivative")):
                stays = fine[order] > np.maximum(0.4 * coarse[order], 1e-9 * scale[order])
                assert not stays.any(), (
                    f"{what}: the {name} of feature {int(np.argmax(stays))} jumps by {fine[order][stays].max():.3g}"
                )


# --- Machinery ------------------------------------------------------------------------------------------------------


def threads_do_not_change_a_bit(descriptor, structures):
    atoms = change.crystal(descriptor.species_)
    one = _all_operations(descriptor, atoms, n_jobs=1)
    for n_jobs in (2, 3):
        several = _all_operations(descriptor, atoms, n_jobs=n_jobs)
        for name, expected in one.items():
            assert_equal(several[name], expected, f"{name} with n_jobs={n_jobs}")


def copies_give_the_same_values(descriptor, structures):
    """After pickle, and after clone and fit."""
    listed = list(structures.values())
    for name, twin in {
        "pickled": pickle.loads(pickle.dumps(descriptor)),
        "copied": copy.deepcopy(descriptor),
        "cloned and fitted": clone(descriptor).fit(listed),
    }.items():
        assert twin.species_ == descriptor.species_, f"{name}: species {twin.species_}"
        assert twin.cutoff_ == descriptor.cutoff_, f"{name}: cutoff {twin.cutoff_}"
        for key, atoms in structures.items():
            assert_equal(_values(twin, atoms), _values(descriptor, atoms), f"values of {key}, {name}")


def fit_leaves_parameters(descriptor, structures):
    """The constructor stores the very objects it is given, and `fit` does not touch them."""
    fresh = clone(descriptor)
    before = fresh.get_params()
    listed = list(structures.values())
    assert fresh.fit(listed) is fresh, "fit does not return the estimator"
    after = fresh.get_params()
    changed = [name for name in before if after[name] is not before[name]]
    assert not changed, f"fit changed the parameters {changed}"
    for name in ("species", "n_jobs"):
        assert name in before, f"there is no parameter {name!r}"
    assert clone(descriptor).set_params(n_jobs=2).n_jobs == 2, "set_params does not set n_jobs"
    assert not hasattr(clone(descriptor), "species_"), "a clone is fitted"


def unfitted_descriptors_say_so(descriptor, structures):
    assert_raises(NotFittedError, lambda: clone(descriptor).transform(list(structures.values())))


def bad_structures_are_refused(descriptor, structures):
    """With the number of the structure in the message, whether in fit or in transform."""
    good = change.crystal(descriptor.species_, (2, 2, 1))
    for bad, kind, words in bad_structures(good, descriptor.species_):
        assert_raises(kind, lambda b=bad: descriptor.transform([good, b]), "structure 1", *words)
    assert_raises(TypeError, lambda: descriptor.transform(good), "list")
    assert_raises(TypeError, lambda: clone(descriptor).fit(good), "list")
    stray = change.crystal((_stranger(descriptor.species_),), (2, 2, 1))
    named_species = clone(descriptor).set_params(species=descriptor.species_)
    assert_raises(ValueError, lambda: named_species.fit([good, stray]), "structure 1", stray.symbols[0])


def bad_structures(good, species):
    """Yield structures made from a good one by spoiling it, the kind of error, and words that its message must have."""
    nan, huge, near, stray = (good.copy() for _ in range(4))
    nan.positions[2, 1] = np.nan
    huge.positions[0, 0] = np.inf
    near.positions[1] = near.positions[0] + 0.01
    stray.symbols[3] = _stranger(species)
    yield nan, ValueError, ("atom 2", "nan")
    yield huge, ValueError, ("atom 0", "inf")
    yield near, ValueError, ("atoms 0 and 1", "remove")
    yield stray, ValueError, (stray.symbols[3], "species")
    yield Atoms(), ValueError, ("empty", "remove")
    yield "POSCAR", TypeError, ("str",)


DESCRIPTOR_LAWS = {
    law.__name__: law
    for law in (
        values_are_one_row_an_atom,
        features_have_names,
        transform_gives_the_values,
        input_is_left_alone,
        jacobian_is_the_derivative_of_values,
        jacobian_comes_in_blocks_of_centers,
        jvp_is_the_contracted_jacobian,
        vjp_is_the_contracted_jacobian,
        vjp_is_the_adjoint_of_jvp,
        pullback_is_the_vjp,
        rows_are_the_contracted_jacobian,
        rows_are_derivatives_of_the_features,
        moved_pairs_are_a_new_list,
        rotation_leaves_values,
        permutation_permutes_values,
        order_of_neighbors_does_not_count,
        translation_leaves_values,
        choice_of_cell_leaves_values,
        supercell_repeats_values,
        pairs_beyond_the_cutoff_do_not_count,
        far_atoms_do_not_interact,
        neighbors_leave_smoothly,
        threads_do_not_change_a_bit,
        copies_give_the_same_values,
        fit_leaves_parameters,
        unfitted_descriptors_say_so,
        bad_structures_are_refused,
    )
}


# --- Pieces of laws -------------------------------------------------------------------------------------------------


def _pairs(descriptor, atoms, skin=0.0):
    return NeighborPairs.from_atoms(atoms, descriptor.cutoff_ + skin)


def _values(descriptor, atoms):
    return descriptor.values(_pairs(descriptor, atoms))


def _displaced(pairs, displacements):
    """The same pairs with other vectors, as if each of them could move alone."""
    moved = pairs.moved(pairs.positions)
    vectors = pairs.vectors + displacements
    vectors.flags.writeable = False
    object.__setattr__(moved, "vectors", vectors)  # no public way: no structure has such vectors
    return moved


def _tangents(descriptor, pairs, seed=3):
    """Cotangents (N, F) that weigh all features alike, and displacements (P, 3)."""
    rng = np.random.default_rng(seed)
    size = np.abs(descriptor.values(pairs)).max(axis=0)
    cotangents = rng.normal(size=(pairs.n_atoms, descriptor.n_features_out_)) / np.where(size > 0, size, 1.0)
    return cotangents, rng.normal(size=(pairs.n_pairs, 3))


def _with_tangents(descriptor, atoms):
    pairs = _pairs(descriptor, atoms)
    return pairs, *_tangents(descriptor, pairs)


def _energy_row(descriptor, pairs):
    """Σ_i B_i of the centers of each species (S F,)."""
    values = descriptor.values(pairs)
    total = np.zeros((len(descriptor.species_), values.shape[1]))
    np.add.at(total, descriptor.species_index(pairs.numbers), values)
    return total.ravel()


def _contracted_rows(descriptor, pairs):
    """The rows in NumPy, from the whole Jacobian at once, and the largest term of each column (forces may cancel)."""
    jacobian = descriptor.jacobian(pairs)
    n_species, n_features = len(descriptor.species_), descriptor.n_features_out_
    species = descriptor.species_index(pairs.numbers)[pairs.first]
    wide = np.zeros((pairs.n_pairs, 3, n_species, n_features))
    wide[np.arange(pairs.n_pairs), :, species] = jacobian
    wide = wide.reshape(pairs.n_pairs, 3, n_species * n_features)
    forces = np.zeros((pairs.n_atoms, 3, wide.shape[2]))
    np.add.at(forces, pairs.first, wide)
    np.subtract.at(forces, pairs.second, wide)
    virial = np.einsum("px,pyf->xyf", pairs.vectors, wide)
    stress = 0.5 * (virial + virial.transpose(1, 0, 2))[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / pairs.volume
    forces = forces.reshape(3 * pairs.n_atoms, wide.shape[2])
    rows = np.concatenate([_energy_row(descriptor, pairs)[None], forces, stress])
    return rows, np.abs(wide).max(axis=(0, 1), initial=0.0)


def strain_derivative(function, atoms):
    """Derivatives (6, ...) of ``function(strained atoms)``, in Voigt order, and their errors."""
    slopes = []
    for x, y in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        strain = np.zeros((3, 3))
        strain[x, y] += 0.5
        strain[y, x] += 0.5
        slopes.append(central_difference(lambda t, e=strain: function(change.strained(atoms, t * e))))
    return (np.array(part) for part in zip(*slopes, strict=True))


def _leaving(descriptor, center, leaving, n_points):
    """Largest jumps of values and radial derivatives along the way of a leaving neighbor, and their scales."""
    cutoff = descriptor.cutoff_
    direction = np.array([0.36, 0.48, 0.8])
    distances = np.linspace(0.3 * cutoff, 1.02 * cutoff, n_points)
    atoms = Atoms([center, center, leaving], positions=[[0, 0, 0], [0.45 * cutoff, 0, 0], direction * distances[0]])
    pairs = NeighborPairs.from_atoms(atoms, 1.1 * cutoff)
    chosen = int(np.flatnonzero((pairs.first == 0) & (pairs.second == 2))[0])
    unit = np.zeros((pairs.n_pairs, 3))
    unit[chosen] = direction
    values, slopes = [], []
    for distance in distances:
        moved = _displaced(pairs, (distance - distances[0]) * unit)
        values.append(descriptor.values(moved)[0])
        slopes.append(direction @ descriptor.jacobian(moved, 0, 1)[chosen])
    jumps = [np.abs(np.diff(part, axis=0)).max(axis=0) for part in (values, slopes)]
    return jumps, [np.abs(part).max() for part in (values, slopes)]


def _all_operations(descriptor, atoms, n_jobs):
    descriptor = copy.deepcopy(descriptor).set_params(n_jobs=n_jobs)
    pairs, cotangents, displacements = _with_tangents(descriptor, atoms)
    values, pullback = descriptor.values_and_pullback(pairs)
    return {
        "values": descriptor.values(pairs),
        "jacobian": descriptor.jacobian(pairs),
        "vjp": descriptor.vjp(pairs, cotangents),
        "jvp": descriptor.jvp(pairs, displacements),
        "rows": descriptor.rows(pairs),
        "values of values_and_pullback": values,
        "pullback": pullback(cotangents),
    }


def _stranger(species):
    """An element that is not among the species."""
    return next(symbol for symbol in ("He", "Xe") if symbol not in species)
