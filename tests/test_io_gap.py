"""GAP files as models: against formulas, quippy and what was written."""

import re
from itertools import combinations_with_replacement

import numpy as np
import pytest
from _gap_files import SOAP_TEXT, Pair, Soap, alloy, energies_of, terms, write_files
from _soap_twin import Parameters
from _toy import LeastSquares, Shells
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from mlfeat import (
    SOAP,
    ZBL,
    Bispectrum,
    DescriptorUnion,
    FeatureScaler,
    GaussianApproximationPotential,
    PairDistance,
    PotentialCalculator,
    io,
    load,
    make_descriptor_union,
    make_targets,
    predict_targets,
    save,
)
from mlfeat.cli import main
from mlfeat.io import read_gap, write_gap
from mlfeat.testing import toy_training_set

SMALL = {"cutoff": 4.0, "n_max": 3, "l_max": 2}


def evaluate(model, atoms):
    calculator = PotentialCalculator(model)
    return [calculator.get_property(name, atoms) for name in ("energy", "energies", "forces", "stress")]


def variances(model, atoms):
    return model[-1].energies_std(model[:-1].transform([atoms])[0]) ** 2


def check_same(ours, theirs, tolerance):
    for mine, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def check_identical(model, other, atoms):
    for mine, theirs in zip(evaluate(model, atoms), evaluate(other, atoms), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def training(symbols=("Ni", "Cu"), n=4):
    structures = [alloy(symbols, seed=seed) for seed in range(n)]
    for atoms in structures:
        atoms.calc = EMT()
    return structures


def fitted(*descriptors, symbols=("Ni", "Cu"), **parameters):
    """A model fitted to a few structures."""
    structures = training(symbols)
    descriptor = descriptors[0] if len(descriptors) == 1 else make_descriptor_union(*descriptors)
    potential = GaussianApproximationPotential(**({"n_sparse": 5, "zeta": 2} | parameters))
    return make_pipeline(descriptor, potential).fit(structures, make_targets(structures))


# --- equal to QUIP -------------------------------------------------------------------------------


def test_the_reference_gap_gives_what_quippy_gives(shared):
    model = read_gap(shared / "reference" / "gap" / "Si" / "gap.xml")
    for expected in read(shared / "reference" / "gap" / "Si.xyz", ":"):
        results = expected.calc.results
        calculator = PotentialCalculator(model)
        for name in {"energy", "energies", "forces", "stress"} & results.keys():
            ours = calculator.get_property(name, expected.copy())
            np.testing.assert_allclose(ours, results[name], rtol=0, atol=1e-9 * np.abs(results[name]).max())
        theirs = expected.arrays["local_gap_variance"]
        np.testing.assert_allclose(variances(model, expected), theirs, rtol=1e-9, atol=1e-10)


def test_published_gaps_are_read_if_their_sparse_points_are_there(shared, tmp_path):
    published = shared / "models" / "Mo" / "gap" / "gap.xml"
    with pytest.raises(FileNotFoundError, match="copy it into that folder: '.*GAPotential.soapparam'"):
        read_gap(published, ["Mo"])
    path = tmp_path / "gap.xml"
    path.write_bytes(published.read_bytes())
    points = np.random.default_rng(0).normal(size=(2000, 325))
    (tmp_path / "GAPotential.soapparam").write_text("\n".join(map(str, points.ravel().tolist())) + "\n")
    model = read_gap(path, ["Mo"], variance_regularization=None)
    np.testing.assert_array_equal(model[-1].blocks_[0]["sparse_points"], points)
    assert model[-1].e0 == {"Mo": -4.04}
    assert model[-1].blocks_[0]["zeta"] == 4
    assert (model["soap"].cutoff, model["soap"].n_max, model["soap"].l_max) == (5.2, 8, 8)


class Quippy:
    """QUIP's numbers of a file."""

    def __init__(self, path, monkeypatch, arguments=""):
        potential = pytest.importorskip("quippy.potential").Potential
        monkeypatch.chdir(path.parent)
        self.potential = potential(param_filename=path.name, calc_args=arguments)

    def __call__(self, atoms):
        return [self.potential.get_property(name, atoms) for name in ("energy", "energies", "forces", "stress")]

    @property
    def variance(self):
        return self.potential.extra_results["atoms"]["local_gap_variance"]


TERMS = {
    "sum": terms,
    "pair": lambda: [Pair((28, 28), 0.5), Pair((42, 28), 0.7, 1.5), Pair((42, 42))],
    "soap": lambda: [Soap(28), Soap(42)],
    "two of each": lambda: [*terms(), Pair(delta=0.3), Soap(28, zeta=4), Soap(42, zeta=3, seed=5)],
    "order of species": lambda: [Soap(28, (28, 42)), Soap(42, (42, 28), seed=4)],
    "central_weight, sigma0": lambda: [
        Soap(
            28,
            parameters=Parameters(4.0, 2, 1, 0.4, 0.5, 0.3, covariance_sigma0=0.2),
            keywords="soap n_max=2 l_max=1 atom_sigma=0.4 cutoff=4.0 central_weight=0.3 covariance_sigma0=0.2",
        ),
        Soap(42),
    ],
    "not normalized": lambda: [
        Soap(
            28,
            parameters=Parameters(4.0, 2, 1, 0.5, 0.7, normalize=False),
            keywords=SOAP_TEXT + " normalise=F",
        ),
    ],
}


@pytest.mark.parametrize("inline", [False, True], ids=["files", "inline"])
@pytest.mark.parametrize("name", TERMS)
def test_energies_are_those_of_the_formula(tmp_path, name, inline):
    some = TERMS[name]()
    model = read_gap(write_files(tmp_path, some, inline=inline))
    for atoms in (alloy(), alloy(["Mo"]), alloy(["Mo", "Ni", "Ni"])):
        expected = energies_of(some, atoms)
        np.testing.assert_allclose(evaluate(model, atoms)[1], expected, rtol=0, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("name", TERMS)
def test_quippy_gives_the_same(tmp_path, monkeypatch, name):
    path = write_files(tmp_path, TERMS[name]())
    model, quippy = read_gap(path), Quippy(path, monkeypatch)
    for atoms in (alloy(), alloy(["Mo", "Ni", "Ni"])):
        check_same(evaluate(model, atoms), quippy(atoms), 1e-8)


@pytest.mark.parametrize("regularization", [1e-3, 0.1])
@pytest.mark.parametrize("descriptors", [[SOAP(**SMALL)], [SOAP(**SMALL), SOAP(3.6, 2, 2)]], ids=["one", "sum"])
def test_quippy_gives_the_same_variance(tmp_path, monkeypatch, descriptors, regularization):
    path = write_gap(fitted(*descriptors), tmp_path / "gap.xml")[0]
    model, atoms = read_gap(path, variance_regularization=regularization), alloy(("Ni", "Cu"))
    quippy = Quippy(path, monkeypatch, f"local_gap_variance gap_variance_regularisation={regularization}")
    quippy(atoms)
    np.testing.assert_allclose(variances(model, atoms), quippy.variance, rtol=1e-8, atol=1e-12)


def test_the_variance_is_that_of_the_distance_to_the_sparse_points(tmp_path):
    some = [Soap(28), Soap(42, seed=4)]
    path = write_files(tmp_path, some)
    for regularization in (1e-3, 0.1):
        model, atoms = read_gap(path, variance_regularization=regularization), alloy()
        values = model[0].fit_transform([atoms])[0].values
        expected = np.empty(len(atoms))
        for term in some:
            mine = atoms.numbers == term.center
            kernels = 0.25 * (values[mine] @ term.points.T) ** 2
            between = 0.25 * (term.points @ term.points.T) ** 2 + regularization**2 * np.eye(3)
            explained = np.einsum("ns,st,nt->n", kernels, np.linalg.inv(between), kernels)
            expected[mine] = 0.25 + regularization**2 - explained
        np.testing.assert_allclose(variances(model, atoms), expected, rtol=1e-9)
    assert not hasattr(read_gap(path, variance_regularization=None)[-1], "energies_std")


@pytest.mark.parametrize(("value", "message"), [(0, "positive number, or None"), (1e-30, "too small .*enlarge it")])
def test_a_variance_needs_regularization(tmp_path, value, message):
    term = Soap(28, zeta=1)
    term.points = np.random.default_rng(2).normal(size=(40, term.dimensions))  # K_MM is singular
    term.alpha, term.cutoffs = np.ones(40), np.ones(40)
    with pytest.raises(ValueError, match=f"variance_regularization={value}.* {message}"):
        read_gap(write_files(tmp_path, [term]), variance_regularization=value)


# --- reading: what is accepted -------------------------------------------------------------------


def test_a_gap_has_descriptors_named_after_their_kind(tmp_path):
    model = read_gap(write_files(tmp_path))
    assert isinstance(model[0], DescriptorUnion)
    assert model[0].species_ == model[-1].species_ == ("Ni", "Mo")
    assert [block["name"] for block in model[-1].blocks_] == ["pairdistance", "soap"]
    assert model[-1].e0 == {"Ni": -1.5, "Mo": -4.25}


@pytest.mark.parametrize("species", [("Mo", "Ni"), ["Mo"], "Ni".split()])
@pytest.mark.parametrize("name", ["sum", "pair", "order of species"])
def test_species_selects_and_orders_the_elements(tmp_path, name, species):
    path = write_files(tmp_path, TERMS[name]())
    whole, part = read_gap(path), read_gap(path, species)
    assert part[0].species_ == tuple(species)
    atoms = alloy(species)
    check_same(evaluate(part, atoms), evaluate(whole, atoms), 1e-12)


@pytest.mark.parametrize("compression", ["nu_R=2 nu_S=1", "nu_R=2 nu_S=0"])
def test_species_selects_and_orders_compressed_elements(tmp_path, compression):
    parameters = {"nu_R=2 nu_S=1": "mu1nu1", "nu_R=2 nu_S=0": "mu2"}
    model = fitted(SOAP(**SMALL, compression=parameters[compression]))
    path = write_gap(model, tmp_path / "gap.xml")[0]
    assert compression in path.read_text()
    for species in (("Ni", "Cu"), ("Ni",)):
        check_same(evaluate(read_gap(path, species), alloy(species)), evaluate(model, alloy(species)), 1e-11)


@pytest.mark.parametrize("species", [("W",), ("Mo", "Mo"), (), "Mo", (1, 2)])
def test_species_that_the_file_has_not_are_refused(tmp_path, species):
    with pytest.raises(ValueError, match="different ones of Ni, Mo"):
        read_gap(write_files(tmp_path), species)


ONE = "soap n_max=2 l_max=1 atom_sigma=0.5 cutoff=4.0 cutoff_transition_width=0.7"


@pytest.mark.parametrize("keywords", ["", " Z=0", " n_species=1 species_Z={0} Z=0"])
def test_a_file_that_names_no_element_is_for_the_one_asked_for(tmp_path, keywords):
    term = Soap(28, (28,))
    term.descriptor = ONE + keywords
    pair = Pair((28, 28), descriptor="distance_2b cutoff=4.2 cutoff_transition_width=1.0")
    path = write_files(tmp_path, [term, pair])
    with pytest.raises(ValueError, match=r"names no element.*species=\['Si'\]"):
        read_gap(path)
    with pytest.raises(ValueError, match="gpCoordinates 1: soap of neighbors of any species alike"):
        read_gap(path, ["Ni", "Mo"])
    model, atoms = read_gap(path, ["Ni"]), alloy(["Ni"])
    np.testing.assert_allclose(evaluate(model, atoms)[1], energies_of([term, pair], atoms), rtol=1e-10)


def test_pairs_of_any_species_are_pairs_of_each(tmp_path):
    pair = Pair(descriptor="distance_Nb order=2 cutoff=4.2 cutoff_transition_width=1.0")
    model = read_gap(write_files(tmp_path, [pair]), ["Mo", "Ni"])
    every = [Pair(kind) for kind in combinations_with_replacement((28, 42), 2)]
    np.testing.assert_allclose(evaluate(model, alloy())[1], energies_of(every, alloy()), rtol=1e-10)


def test_one_soap_may_be_for_all_centers(tmp_path):
    term = Soap(28)
    term.descriptor = f"{SOAP_TEXT} n_species=2 species_Z={{28 42}}"
    for centers in ("", " n_Z=2 Z={28 42}"):
        one = Soap((28, 42))
        one.descriptor = term.descriptor + centers
        model = read_gap(write_files(tmp_path, [one]))
        np.testing.assert_allclose(evaluate(model, alloy())[1], energies_of([one], alloy()), rtol=1e-10)


@pytest.mark.parametrize(
    ("keywords", "version", "share"),
    [
        ("", 1769700636, 1.0),
        ("", 1596837814, 1.0),
        ("", 1596837813, 0.5),
        ("compact_clusters=F", 1769700636, 0.5),
        ("compact_clusters=T", 1525123159, 0.5),
    ],
)
def test_old_clusters_count_pairs_once(tmp_path, monkeypatch, keywords, version, share):
    descriptor = f"distance_Nb order=2 cutoff=4.2 cutoff_transition_width=1.0 {keywords} Z={{28 42 }}"
    path = write_files(tmp_path, [Pair(descriptor=descriptor)], version=version)
    expected = energies_of([], alloy()) + share * Pair().energies(alloy())
    np.testing.assert_allclose(evaluate(read_gap(path), alloy())[1], expected, rtol=1e-10)


SAME = {
    "windows": lambda text: text.replace("\n", "\r\n"),
    "older version": lambda text: text.replace(' gap_version="1769700636"', ' gap_version="1426512068"'),
    "no command line": lambda text: text[: text.index("  <command_line>")] + text[text.index("</GAP_params>") :],
    "structures": lambda text: text.replace("</GAP_params>", "<XYZ_data> <a/> 1 2 3 </XYZ_data></GAP_params>"),
    "no md5": lambda text: text.replace("sparseX_md5sum", "unknown"),
    "capitals": lambda text: text.replace("soap n_max=2 l_max", "SOAP N_MAX=2 L_Max"),
    "spaces, quotes": lambda text: text.replace("n_max=2 l_max=1", "n_max = 2 l_max='1'"),
    "other name": lambda text: text.replace("atom_sigma", "atom_gaussian_width"),
    "keywords of the fit": lambda text: text.replace(
        "soap n_max",
        "soap delta=0.5 n_sparse=3 sparse_method=cur_points covariance_type=dot_product add_species=T n_max",
    ),
    "keywords by default": lambda text: text.replace(
        "soap n_max",
        "soap average=F diagonal_radial=F nu_R=2 nu_S=2 R_mix=F Z_mix=F sym_mix=F coupling=T cutoff_dexp=0 "
        "radial_basis=equispaced_gauss basis_error_exponent=10 central_reference_all_species=F normalise=T n_max",
    ),
    "keywords without effect": lambda text: text.replace("soap n_max", "soap cutoff_scale=2 cutoff_rate=3 K=2 n_max"),
    "Fortran numbers": lambda text: text.replace('zeta="2"', 'zeta=".20000000000000000D+001"'),
    "zeta as theta": lambda text: text.replace(' zeta="2"', "").replace(
        "<descriptor>soap", "<theta>2.0</theta><descriptor>soap"
    ),
    "no Potential": lambda text: "\n".join(line for line in text.splitlines() if not line.startswith("<Potential")),
    "indices in another order": lambda text: _swapped(text),
}


def _swapped(text):
    """The first two sparse points of the last term change places in the file."""
    lines = text.splitlines()
    last = max(k for k, line in enumerate(lines) if '<sparseX i="1"' in line)
    lines[last : last + 2] = lines[last + 1], lines[last]
    return "\n".join(lines)


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_layout_does_not_matter(tmp_path, change):
    path = write_files(tmp_path)
    model = read_gap(path)
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_bytes(changed.encode())
    check_identical(read_gap(path), model, alloy())


def test_e0_may_be_one_number_for_all(tmp_path):
    path = write_files(tmp_path)
    text = path.read_text().replace('do_core="F"', 'do_core="F" e0="-2.5"')
    path.write_text(text)
    assert read_gap(path)[-1].e0 == {"Ni": -1.5, "Mo": -4.25}
    path.write_text("\n".join(line for line in text.splitlines() if "<e0 " not in line))
    assert read_gap(path)[-1].e0 == {"Ni": -2.5, "Mo": -2.5}


# --- round trips ---------------------------------------------------------------------------------

MODELS = {
    "soap": lambda: fitted(SOAP(**SMALL)),
    "soap, one species": lambda: fitted(SOAP(**SMALL, covariance_sigma0=0.1), symbols=("Cu",)),
    "soap, all settings": lambda: fitted(
        SOAP(4.1, 2, 3, sigma=0.45, cutoff_transition_width=0.8, central_weight=0.4, normalize=False), zeta=3
    ),
    "mu1nu1": lambda: fitted(SOAP(**SMALL, compression="mu1nu1")),
    "mu2": lambda: fitted(SOAP(**SMALL, compression="mu2")),
    "pair": lambda: fitted(PairDistance(4.0, 6, theta={("Cu", "Cu"): 1.0, ("Cu", "Ni"): 0.7, ("Ni", "Ni"): 0.9})),
    "order of species": lambda: fitted(PairDistance(4.0, 6, species=("Ni", "Cu"))),
    "sum": lambda: fitted(
        PairDistance(4.5, 6), SOAP(**SMALL, species=("Ni", "Cu")), delta={"pairdistance": 2.0, "soap": 0.3}
    ),
    "several": lambda: fitted(
        SOAP(**SMALL), SOAP(3.6, 2, 2), PairDistance(4.5, 6), zeta={"soap-1": 4, "soap-2": 2, "pairdistance": 1}
    ),
    "nested": lambda: fitted(SOAP(**SMALL), make_descriptor_union(PairDistance(3.9, 4), PairDistance(4.5, 5))),
    "no transition": lambda: fitted(SOAP(**SMALL, cutoff_transition_width=0.0)),
    "least": lambda: fitted(SOAP(3.8, 1, 0), zeta=1),
    "few points": lambda: fitted(SOAP(**SMALL), n_sparse={"Cu": 3, "Ni": 1}),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_fitted_model_survives_writing_and_reading(tmp_path, name):
    model = MODELS[name]()
    paths = write_gap(model, tmp_path / "gap.xml")
    again = read_gap(paths[0])
    for atoms in (alloy(("Ni", "Cu")) if len(model[0].species_) > 1 else alloy(("Cu",)), bulk("Cu", a=3.5)):
        check_same(evaluate(again, atoms), evaluate(model, atoms), 1e-12)
    (tmp_path / "again").mkdir()
    new = write_gap(again, tmp_path / "again" / "gap.xml")
    assert [path.name for path in new] == [path.name for path in paths]
    assert [path.read_bytes() for path in new] == [path.read_bytes() for path in paths]


@pytest.mark.parametrize("name", MODELS)
def test_quippy_runs_what_is_written(tmp_path, monkeypatch, name):
    model = MODELS[name]()
    path = write_gap(model, tmp_path / "gap.xml")[0]
    quippy = Quippy(path, monkeypatch)
    atoms = alloy(("Ni", "Cu")) if len(model[0].species_) > 1 else alloy(("Cu",))
    check_same(evaluate(model, atoms), quippy(atoms), 1e-8)


def test_a_compressed_model_is_written_as_it_was_before(tmp_path):
    model, compressed = fitted(SOAP(**SMALL)), fitted(SOAP(**SMALL))
    compressed[-1].compress_(1e-2)
    atoms = alloy(("Ni", "Cu"))
    assert evaluate(compressed, atoms)[0] != pytest.approx(evaluate(model, atoms)[0], abs=1e-8)
    again = read_gap(write_gap(compressed, tmp_path / "gap.xml")[0])
    check_same(evaluate(again, atoms), evaluate(model, atoms), 1e-12)


def test_the_file_says_how_to_use_it(tmp_path, monkeypatch):
    path = write_gap(read_gap(write_files(tmp_path)), tmp_path / "Ni<Mo>.xml")[0]
    (line,) = [line for line in path.read_text().splitlines() if "pair_coeff" in line]
    label = re.search('pair_coeff . . Ni&lt;Mo&gt;.xml "(Potential xml_label=GAP_mlfeat_[0-9a-f]{16})" 28 42', line)[1]
    potential = pytest.importorskip("quippy.potential").Potential
    monkeypatch.chdir(tmp_path)
    energy = potential(label, param_filename=path.name).get_property("energy", alloy())
    assert energy == pytest.approx(evaluate(read_gap(path), alloy())[0], abs=1e-8)


@pytest.mark.parametrize("name", TERMS)
def test_a_file_survives_reading_and_writing(tmp_path, name):
    model = read_gap(write_files(tmp_path, TERMS[name]()))
    again = read_gap(write_gap(model, tmp_path / "new.xml")[0])
    check_same(evaluate(again, alloy()), evaluate(model, alloy()), 1e-13)


def test_a_model_read_survives_saving_and_loading(tmp_path):
    model = read_gap(write_files(tmp_path))
    check_identical(load(save(model, tmp_path / "x.mlfeat")), model, alloy())


def test_a_model_read_can_be_fitted_again(tmp_path):
    structures = training(("Ni", "Cu"))
    model = fitted(SOAP(**SMALL))
    again = read_gap(write_gap(model, tmp_path / "gap.xml")[0])
    again.fit(structures, make_targets(structures))
    atoms = alloy(("Ni", "Cu"), seed=9)
    assert np.isfinite(evaluate(again, atoms)[0])


def test_the_command_converts(tmp_path, capsys):
    path = write_files(tmp_path)
    assert main(["convert", str(path), f"{tmp_path}/model.mlfeat"]) == 0
    check_identical(load(tmp_path / "model.mlfeat"), read_gap(path), alloy())
    capsys.readouterr()
    assert main(["convert", str(path), f"{tmp_path}/Mo.xml", "--species", "Mo"]) == 0
    written = [tmp_path / "Mo.xml", *tmp_path.glob("Mo.xml.*")]
    assert capsys.readouterr().out.splitlines() == [f"{path} (QUIP)" for path in written]
    check_same(evaluate(read_gap(tmp_path / "Mo.xml"), alloy(["Mo"])), evaluate(read_gap(path), alloy(["Mo"])), 1e-12)


# --- writing -------------------------------------------------------------------------------------


def refused(model, path, error, message):
    before = list(path.parent.iterdir())
    with pytest.raises(error, match=message):
        write_gap(model, path)
    assert list(path.parent.iterdir()) == before


def test_unfitted_models_are_refused(tmp_path):
    model = make_pipeline(SOAP(), GaussianApproximationPotential())
    refused(model, tmp_path / "gap.xml", NotFittedError, "not fitted")


@pytest.mark.parametrize(
    ("descriptor", "error", "message"),
    [
        (SOAP(**SMALL, radial_basis="gto"), ValueError, "'equispaced_gauss' alone"),
        (SOAP(**SMALL, compression="random"), ValueError, "no 'random' compression"),
        (Bispectrum(4.0, 2), TypeError, "SOAP and PairDistance, not Bispectrum"),
    ],
)
def test_descriptors_that_quip_has_not_are_refused(tmp_path, descriptor, error, message):
    refused(fitted(descriptor), tmp_path / "gap.xml", error, message)


def test_other_potentials_are_refused(tmp_path):
    structures = [bulk("Cu", cubic=True), bulk("Cu", cubic=True, a=3.7)]
    model = make_pipeline(SOAP(**SMALL), LeastSquares()).fit(structures, [0.0, 1.0])
    refused(model, tmp_path / "gap.xml", TypeError, "GaussianApproximationPotential, not LeastSquares")
    model = make_pipeline(Shells(), LeastSquares()).fit(structures, [0.0, 1.0])
    refused(model, tmp_path / "gap.xml", TypeError, "not Shells")


def test_steps_between_are_refused(tmp_path):
    structures = training()
    model = make_pipeline(SOAP(**SMALL), FeatureScaler(), GaussianApproximationPotential(5, zeta=1))
    model.fit(structures, make_targets(structures))
    refused(model, tmp_path / "gap.xml", ValueError, "no steps .* FeatureScaler")


def test_baselines_are_refused(tmp_path):
    model = fitted(SOAP(**SMALL), baseline=ZBL(1.0, 2.0))
    refused(model, tmp_path / "gap.xml", ValueError, "has a baseline, ZBL.*hybrid/overlay")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = fitted(SOAP(**SMALL))
    model[-1].blocks_[0]["weights"][1] = np.nan
    refused(model, tmp_path / "gap.xml", ValueError, "not finite")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no folder {tmp_path / 'nowhere'}; create it"):
        write_gap(read_gap(write_files(tmp_path)), tmp_path / "nowhere" / "gap.xml")


def test_an_older_potential_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "gap.xml"
    old, new = fitted(SOAP(**SMALL)), fitted(SOAP(**SMALL), n_sparse=3)
    write_gap(old, path)
    written, write = [], io._gap.write_atomically

    def interrupted(file, blob):
        if file == path:
            raise KeyboardInterrupt
        written.append(file)
        return write(file, blob)

    monkeypatch.setattr(io._gap, "write_atomically", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_gap(new, path)
    assert len(written) == 2
    check_same(evaluate(read_gap(path), alloy(("Ni", "Cu"))), evaluate(old, alloy(("Ni", "Cu"))), 1e-12)


def test_kernels_of_several_zeta_share_a_descriptor(tmp_path):
    train = toy_training_set(("Mo", "Ni"), n_structures=6)
    potential = GaussianApproximationPotential(8, zeta=(1, 4), delta={"soap_zeta1": 3.0, "soap_zeta4": 0.5})
    model = make_pipeline(SOAP(cutoff=4.0, n_max=3, l_max=2), potential).fit(train, make_targets(train))
    files = [file.read_bytes() for file in write_gap(model, tmp_path / "gap.xml")]
    again = read_gap(tmp_path / "gap.xml")
    assert isinstance(again[0], SOAP)
    assert again[1].zeta == {"soap": (1, 4)}
    assert [block["name"] for block in again[1].blocks_] == ["soap_zeta1", "soap_zeta4"]
    expected, found = (predict_targets(one, train) for one in (model, again))
    np.testing.assert_allclose(found["energy"], expected["energy"], rtol=1e-10)
    assert [file.read_bytes() for file in write_gap(again, tmp_path / "gap.xml")] == files


def test_equal_kernels_of_different_delta_stay_apart(tmp_path):
    """Two terms of the same soap and ζ: one descriptor for both would take one's weights for the other's."""
    train = toy_training_set(("Mo", "Ni"), n_structures=6)
    soap = SOAP(cutoff=4.0, n_max=3, l_max=2)
    union = DescriptorUnion([("weak", soap), ("strong", SOAP(**soap.get_params()))])
    potential = GaussianApproximationPotential(8, zeta=2, delta={"weak": 0.5, "strong": 3.0})
    model = make_pipeline(union, potential).fit(train, make_targets(train))
    write_gap(model, tmp_path / "gap.xml")
    again = read_gap(tmp_path / "gap.xml")
    assert len(again[0].descriptors_) == 2
    assert [block["delta"] for block in again[1].blocks_] == [0.5, 3.0]
    expected, found = (predict_targets(one, train) for one in (model, again))
    np.testing.assert_allclose(found["energy"], expected["energy"], rtol=1e-10)
