"""Moment tensor potentials from and to MLIP's .mtp files."""

import numpy as np
import pytest
from _moment_twin import evaluate as twin
from _mtp_files import FILE, UNTRAINED, replaced
from _toy import LeastSquares, Shells
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

import mlfeat
from mlfeat.base import predict_targets
from mlfeat.calculator import PotentialCalculator
from mlfeat.descriptors import MomentTensor
from mlfeat.io import read_mtp, write_mtp
from mlfeat.io._mtp_text import read_moments
from mlfeat.neighbors import NeighborPairs
from mlfeat.potentials import ZBL, MomentTensorPotential
from mlfeat.preprocessing import FeatureScaler
from mlfeat.targets import make_targets
from mlfeat.testing import awkward_structures

PUBLISHED = {
    "Ni": ("Ni/mtp/fitted.mtp", ["Ni"]),
    "Li": ("Li/mtp/fitted.mtp", ["Li"]),
    "Mo": ("Mo/mtp/fitted.mtp", ["Mo"]),
    "Si": ("Si/mtp/fitted.mtp", ["Si"]),
    "MoNbTaW": ("MoNbTaW/mtp.2021.08/quaternary.mtp", ["Nb", "Mo", "Ta", "W"]),
}
SPECIES = ("Ni", "Mo")
LEARNED = ("radial_coef_", "scaling_", "coef_", "intercept_")


def read_text(tmp_path, text=FILE, species=SPECIES):
    path = tmp_path / "a.mtp"
    path.write_text(text)
    return read_mtp(path, species)


def read_published(shared, name):
    file, species = PUBLISHED[name]
    return read_mtp(shared / "models" / file, species)


def alloy(seed=0, species=SPECIES):
    atoms = bulk("Cu", cubic=True, a=3.6)
    atoms.symbols[:] = [species[k % len(species)] for k in range(4)]
    atoms.rattle(0.2, seed=seed)
    return atoms


def random_model(species=SPECIES, n_models=1, level=8, seed=0, **parameters):
    """A model as it would come out of a fit; its descriptor has other radial functions than those learned."""
    rng = np.random.default_rng(seed)
    descriptor = MomentTensor(cutoff=4.2, level=level, min_dist=1.1, n_polynomials=4, species=species, scaling=0.7)
    descriptor.fit([Atoms(species[:1])])
    potential = MomentTensorPotential(**parameters)
    shape = n_models, len(species), descriptor.n_features_out_
    potential.radial_coef_ = rng.normal(size=(n_models, *descriptor.radial_coefficients_.shape))
    potential.scaling_ = rng.uniform(0.01, 0.02, size=n_models)
    potential.coef_ = np.broadcast_to(rng.normal(size=(n_models, 1, shape[2])), shape).copy()
    potential.intercept_ = rng.normal(size=shape[:2])
    potential.species_, potential.n_features_in_ = tuple(species), shape[2]
    potential.basis_ = potential.active_set_ = None
    potential.history_, potential.n_iter_ = [], 0
    return make_pipeline(descriptor, potential)


def evaluate(model, atoms):
    atoms = atoms.copy()
    atoms.calc = PotentialCalculator(model)
    results = [[atoms.get_potential_energy()], atoms.get_forces().ravel()]
    return np.concatenate(results + [atoms.get_stress()] * bool(atoms.pbc.all()))


def assert_same_model(ours, theirs):
    """The same to the last bit."""
    for name in LEARNED:
        np.testing.assert_array_equal(getattr(ours[-1], name), getattr(theirs[-1], name), err_msg=name)
    for ours_, theirs_ in zip(*(_descriptor(model) for model in (ours, theirs)), strict=True):
        np.testing.assert_array_equal(ours_, theirs_)


def _descriptor(model):
    learned = model[-1].learned_descriptor(model[0])
    return [*learned.basis_, learned.radial_coefficients_, learned.scaling, learned.min_dist_, learned.cutoff_]


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_give_what_motep_gives(shared, name):
    calculator = PotentialCalculator(read_published(shared, name))
    for expected in read(shared / "reference" / "mtp" / f"{name}.xyz", ":"):
        atoms = expected.copy()
        atoms.calc = calculator
        for quantity in ("energy", "energies", "forces", "stress"):
            if quantity in expected.calc.results:
                theirs = expected.calc.results[quantity]
                ours = calculator.get_property(quantity, atoms)
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11 * np.abs(theirs).max())


def test_a_file_gives_the_energies_of_its_formula(tmp_path):
    model, content = read_text(tmp_path), read_moments(tmp_path / "a.mtp")
    for seed in range(3):
        atoms = alloy(seed)
        pairs = NeighborPairs.from_atoms(atoms, content.max_dist)
        species = np.array([SPECIES.index(symbol) for symbol in atoms.symbols])
        tables = content.moments, content.products, content.scalars
        features = twin(
            pairs, species, tables, content.radial_coefficients, content.scaling, content.min_dist, content.max_dist
        ).values
        energies = content.species_coefficients[species] + features @ content.moment_coefficients
        atoms.calc = PotentialCalculator(model)
        np.testing.assert_allclose(atoms.get_potential_energies(), energies, rtol=1e-12)


def test_species_are_those_of_the_file_in_its_order(tmp_path):
    one, other = read_text(tmp_path), read_text(tmp_path, species=SPECIES[::-1])
    assert one[0].species_ == one[-1].species_ == SPECIES
    assert other[0].species_ == other[-1].species_ == SPECIES[::-1]
    np.testing.assert_array_equal(evaluate(one, alloy()), evaluate(other, alloy(species=SPECIES[::-1])))


def test_one_symbol_is_one_species(shared):
    model = read_mtp(shared / "models" / PUBLISHED["Li"][0], "Li")
    assert model[0].species_ == ("Li",)


def test_parts_have_the_parameters_of_the_file(tmp_path):
    descriptor, potential = (step for _, step in read_text(tmp_path).steps)
    assert (descriptor.cutoff_, descriptor.min_dist_, descriptor.n_polynomials) == (4.0, 1.5, 3)
    assert descriptor.scaling == potential.scaling_[0] == 0.025
    np.testing.assert_array_equal(descriptor.radial_coefficients_, potential.radial_coef_[0])
    np.testing.assert_array_equal(potential.coef_, [[[0.1, -20.5, 0.125, 3]] * 2])
    np.testing.assert_array_equal(potential.intercept_, [[-1.25, 2.5]])
    assert potential.learned_descriptor(descriptor) is descriptor
    assert not hasattr(potential, "extrapolation_grade")


def test_a_read_model_can_be_fitted_further(tmp_path):
    model = read_text(tmp_path)
    structures = [alloy(seed, ("Ni", "Cu")) for seed in range(6)]
    for atoms in structures:
        atoms.calc = EMT()
    targets = make_targets(structures)
    for atoms in structures:
        atoms.symbols[atoms.symbols == "Cu"] = "Mo"
    model[-1].set_params(initial="given", max_iter=2)
    model.fit(structures, targets)
    assert model[-1].radial_coef_.shape == (1, 2, 2, 2, 3)
    assert_same_model(read_mtp(write_mtp(model, tmp_path / "b.mtp"), SPECIES), model)


@pytest.mark.parametrize("species", [None, SPECIES, ("Nb", "Ta", "W")])
def test_a_file_to_be_trained_is_a_model_to_be_fitted(tmp_path, species):
    model = read_text(tmp_path, UNTRAINED, species)
    with pytest.raises(NotFittedError):
        model.predict([alloy()])
    descriptor = model[0]
    assert (descriptor.cutoff, descriptor.min_dist, descriptor.n_polynomials) == (4.0, 1.5, 3)
    assert descriptor.species == species
    np.testing.assert_array_equal(descriptor.basis_.scalars, [0, 5, 6, 4])
    structures = [alloy(seed, species or ("Ni",)) for seed in range(2)]
    assert descriptor.fit_transform(structures).shape == (2, 4)


# --- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_survive_writing_and_reading(shared, tmp_path, name):
    model = read_published(shared, name)
    first = write_mtp(model, tmp_path / "first.mtp")
    again = read_mtp(first, PUBLISHED[name][1])
    assert_same_model(again, model)
    assert write_mtp(again, tmp_path / "second.mtp").read_bytes() == first.read_bytes()
    atoms = alloy(species=PUBLISHED[name][1])
    np.testing.assert_array_equal(evaluate(again, atoms), evaluate(model, atoms))


@pytest.mark.parametrize("level", [2, 8, 12])
@pytest.mark.parametrize("species", [("Ni",), ("Ni", "Mo"), ("W", "Ta", "Mo", "Nb")], ids=len)
def test_what_is_written_is_read_to_the_last_bit(tmp_path, species, level):
    model = random_model(species, level=level)
    again = read_mtp(write_mtp(model, tmp_path / "a.mtp"), species)
    assert_same_model(again, model)
    for atoms in awkward_structures(species).values():
        ours, theirs = (predict_targets(m, [atoms], extrapolation="ignore")[0] for m in (again, model))
        np.testing.assert_array_equal(ours["energy"], theirs["energy"])
        np.testing.assert_array_equal(ours["forces"], theirs["forces"])


def test_a_model_of_a_file_is_kept_by_mlfeat(tmp_path):
    model = read_text(tmp_path)
    mlfeat.save(model, tmp_path / "a.mlfeat")
    again = mlfeat.load(tmp_path / "a.mlfeat")
    assert_same_model(again, model)
    texts = [write_mtp(m, tmp_path / "b.mtp").read_text() for m in (again, model)]
    assert texts[0] == texts[1]


def test_species_of_the_file_are_in_the_order_of_the_descriptor(tmp_path):
    model = random_model(("Mo", "Al"))
    content = read_moments(write_mtp(model, tmp_path / "a.mtp"))
    np.testing.assert_array_equal(content.species_coefficients, model[-1].intercept_[0])
    np.testing.assert_array_equal(content.radial_coefficients, model[-1].radial_coef_[0])


def test_tables_of_the_potential_go_before_those_of_the_descriptor(tmp_path):
    model, chosen = random_model(), [0, 2, 5, 6]
    full = evaluate(model, alloy())
    potential = model[-1]
    potential.coef_[:, :, [k for k in range(9) if k not in chosen]] = 0
    expected = evaluate(model, alloy())
    assert abs(expected - full).max() > 1e-3
    potential.basis_, potential.coef_ = model[0].basis_.subset(chosen), potential.coef_[..., chosen]
    path = write_mtp(model, tmp_path / "a.mtp")
    again = read_mtp(path, SPECIES)
    assert len(read_moments(path).scalars) == 4
    np.testing.assert_allclose(evaluate(again, alloy()), expected, rtol=1e-10, atol=1e-10)


def test_members_of_a_committee_are_written_one_by_one(tmp_path):
    model = random_model(n_models=3)
    with pytest.raises(ValueError, match="a committee of 3, .* choose one with member=0 to 2, .* --member"):
        write_mtp(model, tmp_path / "a.mtp")
    for member in (-1, 3, "first"):
        with pytest.raises(ValueError, match="member=.*: should be 0 to 2"):
            write_mtp(model, tmp_path / "a.mtp", member)
    assert list(tmp_path.iterdir()) == []
    members = [read_mtp(write_mtp(model, tmp_path / f"{k}.mtp", member=k), SPECIES) for k in range(3)]
    mean = np.mean([evaluate(m, alloy()) for m in members], axis=0)
    np.testing.assert_allclose(mean, evaluate(model, alloy()), rtol=1e-10, atol=1e-10)


def test_an_older_file_is_replaced_when_the_new_one_is_complete(tmp_path):
    path = tmp_path / "a.mtp"
    path.write_text("older")
    with pytest.raises(ValueError, match="no baseline"):
        write_mtp(random_model(baseline=ZBL(1.0, 2.0)), path)
    assert path.read_text() == "older"
    assert write_mtp(random_model(), str(path)) == path
    assert [file.name for file in tmp_path.iterdir()] == ["a.mtp"]
    with pytest.raises(FileNotFoundError, match="there is no folder .*missing; create it first"):
        write_mtp(random_model(), tmp_path / "missing" / "a.mtp")


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("species", [None, ["Ni"], ["Ni", "Mo", "W"]])
def test_species_should_be_as_many_as_the_file_has(tmp_path, species):
    with pytest.raises(ValueError, match="a.mtp: the file is for 2 species, but species=.*; pass the symbol of each"):
        read_text(tmp_path, species=species)


@pytest.mark.parametrize("species", [[], ["Ni", "Ni"], ["Ni", "Xx"], [28, 42]])
def test_species_should_be_different_elements(tmp_path, species):
    with pytest.raises(ValueError, match="should be symbols of different elements"):
        read_text(tmp_path, species=species)


TABLES = {
    "early": (replaced("{1, 1, 1, 6}", "{6, 1, 1, 6}"), "before it is finished"),
    "basic": (replaced("{1, 1, 1, 6}", "{1, 1, 1, 2}"), "results of products must be the nodes after the 5 moments"),
    "double": (replaced("{0, 0, 1, 0}, ", "{0, 1, 0, 0}, "), "moment 2 is a second"),
    "polynomials": (
        replaced("radial_basis_size = 3", "radial_basis_size = 65").replace("3.0e+00}", "3.0e+00" + ", 1" * 62 + "}")
        .replace("6.0e+00}", "6.0e+00" + ", 1" * 62 + "}").replace("-0.5}", "-0.5" + ", 1" * 62 + "}")
        .replace("1e-3}", "1e-3" + ", 1" * 62 + "}"),
        "n_polynomials=65",
    ),
    "scaling": (replaced("2.5e-02", "0"), "scaling=0.0"),
}


@pytest.mark.parametrize(("text", "message"), TABLES.values(), ids=TABLES)
def test_what_cannot_be_evaluated_is_refused_with_the_name_of_the_file(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"a.mtp: .*{message}"):
        read_text(tmp_path, text)


def test_bad_tables_of_a_file_to_be_trained_are_refused_at_once(tmp_path):
    with pytest.raises(ValueError, match="a.mtp: .*before it is finished"):
        read_text(tmp_path, replaced("{1, 1, 1, 6}", "{6, 1, 1, 6}", UNTRAINED))


def test_coefficients_that_differ_by_species_are_refused(tmp_path):
    model = random_model(tied=False)
    assert write_mtp(model, tmp_path / "a.mtp").exists()
    model[-1].coef_[0, 1, 0] += 1e-15
    with pytest.raises(ValueError, match="the coefficients differ by species, .*: fit with tied=True, or keep"):
        write_mtp(model, tmp_path / "b.mtp")


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    model = random_model()
    model[-1].intercept_[0, 1] = np.nan
    with pytest.raises(ValueError, match="not finite; fit it again"):
        write_mtp(model, tmp_path / "a.mtp")
    assert list(tmp_path.iterdir()) == []


def test_models_of_other_kinds_are_refused(tmp_path):
    descriptor, potential = (step for _, step in random_model().steps)
    scaler = FeatureScaler().fit(descriptor.transform([alloy()]))
    structures = [alloy(seed, ("Cu",)) for seed in range(3)]
    for atoms in structures:
        atoms.calc = EMT()
    shells = make_pipeline(Shells(3.0), LeastSquares()).fit(structures, make_targets(structures))
    for model in (make_pipeline(descriptor, scaler, potential), shells):
        with pytest.raises(TypeError, match="hold a MomentTensor and a MomentTensorPotential without steps"):
            write_mtp(model, tmp_path / "a.mtp")
    with pytest.raises(NotFittedError):
        write_mtp(make_pipeline(MomentTensor(), MomentTensorPotential()), tmp_path / "a.mtp")


# --- motep ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("species", [("Ni",), ("Ni", "Mo"), ("W", "Ta", "Mo", "Nb")], ids=len)
@pytest.mark.parametrize(("level", "engine"), [(2, "cext"), (8, "numpy"), (8, "cext"), (16, "cext")])
def test_motep_reads_what_is_written_and_gives_the_same(tmp_path, species, level, engine):
    motep = pytest.importorskip("motep.calculator", reason="motep is not installed")
    mtp = pytest.importorskip("motep.io.mlip.mtp")
    model = random_model(species, level=level)
    data = mtp.read_mtp(write_mtp(model, tmp_path / "a.mtp"))
    data.species = Atoms(species).numbers
    for seed in range(2):
        atoms = alloy(seed, species)
        expected = evaluate(model, atoms)
        atoms.calc = motep.MTP(data, engine=engine)
        found = np.concatenate([[atoms.get_potential_energy()], atoms.get_forces().ravel(), atoms.get_stress()])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("legacy", [True, False])
def test_files_of_motep_are_read(tmp_path, legacy):
    mtp = pytest.importorskip("motep.io.mlip.mtp", reason="motep is not installed")
    model = random_model()
    data = mtp.read_mtp(write_mtp(model, tmp_path / "a.mtp"))
    mtp.write_mtp(tmp_path / "b.mtp", data, legacy=legacy)
    again = read_mtp(tmp_path / "b.mtp", SPECIES)
    np.testing.assert_allclose(evaluate(again, alloy()), evaluate(model, alloy()), rtol=1e-10)  # 16 digits
