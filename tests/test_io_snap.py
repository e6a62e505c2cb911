import shutil
from pathlib import Path

import numpy as np
import pytest
from _toy import LeastSquares, Shells
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from mlfeat.calculator import PotentialCalculator
from mlfeat.descriptors import Bispectrum
from mlfeat.io import _snap_text as snap_text
from mlfeat.io import read_snap, write_snap
from mlfeat.potentials import ZBL, LinearPotential
from mlfeat.preprocessing import FeatureScaler, QuadraticExpansion

MODELS = {
    "Li": "Li/snap/SNAPotential",
    "Mo": "Mo/snap/SNAPotential",
    "MoNbTaW": "MoNbTaW/snap.2020.06/Ta-W-Nb-Mo",
    "Ni": "Ni/snap/SNAPotential",
    "Ni-Mo": "Ni-Mo/snap.2018.01/Ni_Mo",
    "Si": "Si/snap/SNAPotential",
    "Mo-2017": "Mo/snap.2017.01/Mo",
    "Ni-2018": "Ni/snap.2018.01/Ni",
    "Li-quadratic": "Li/qsnap/SNAPotential",
    "Mo-quadratic": "Mo/qsnap/SNAPotential",
    "Ni-quadratic": "Ni/qsnap/SNAPotential",
    "Si-quadratic": "Si/qsnap/SNAPotential",
}
REFERENCES = [f"snap/{name}" for name in ("Li", "Mo", "MoNbTaW", "Ni", "Ni-Mo", "Si")]
REFERENCES += [f"qsnap/{name}" for name in ("Li", "Mo", "Ni", "Si")]

# 2J = 2 has five components.
COEFF = "\n".join(
    ["# two elements", "", "2 6", "Ni 0.5 1.0", *"1 2 3 4 5 6".split(), "Mo 0.6 0.8", *"-1 .5 3e-1 0 2. 7".split(), ""]
)
PARAM = "rcutfac 4.0\ntwojmax 2\nrfac0 0.99363\nrmin0 0\ndiagonalstyle 3\nquadraticflag 0\nbzeroflag 0\n"


def model_files(shared, name):
    stem = shared / "models" / MODELS[name]
    return stem.with_name(stem.name + ".snapcoeff"), stem.with_name(stem.name + ".snapparam")


def read_text(tmp_path, coeff=COEFF, param=PARAM, **options):
    """The model of two files with these texts (or bytes)."""
    paths = tmp_path / "a.snapcoeff", tmp_path / "a.snapparam"
    for path, text in zip(paths, (coeff, param), strict=True):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_snap(*paths, **options)


def without_comments(path):
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def coefficients_of(model):
    return np.column_stack([model[-1].intercept_, model[-1].coef_])


def random_model(species=("Ni", "Mo"), quadratic=False, seed=0, **parameters):
    """A model as it would come out of a fit."""
    rng = np.random.default_rng(seed)
    structures = [bulk("Cu", cubic=True, a=3.6) for _ in species]
    for atoms, symbol in zip(structures, species, strict=True):
        atoms.symbols[:] = symbol
        atoms.rattle(0.1, seed=1)
        atoms.calc = EMT() if symbol in ("Ni", "Cu") else None
    parameters = {"cutoff": 4.0, "twojmax": 2, "species": species} | parameters
    steps = [QuadraticExpansion()] if quadratic else []
    model = make_pipeline(Bispectrum(**parameters), *steps, LinearPotential())
    features = model[:-1].fit_transform(structures)
    potential = model[-1]
    potential.coef_ = rng.normal(size=(len(species), features.shape[1]))
    potential.intercept_ = rng.normal(size=len(species))
    potential.species_, potential.n_features_in_ = tuple(species), features.shape[1]
    potential.posterior_ = potential.grader_ = None
    return model


def alloy(species=("Ni", "Mo"), seed=3):
    atoms = bulk("Cu", cubic=True, a=3.6)
    atoms.symbols[:] = [species[k % len(species)] for k in range(4)]
    atoms.rattle(0.2, seed=seed)
    return atoms


def evaluate(model, atoms):
    atoms = atoms.copy()
    atoms.calc = PotentialCalculator(model)
    return np.concatenate([[atoms.get_potential_energy()], atoms.get_forces().ravel(), atoms.get_stress()])


# --- equal to LAMMPS -----------------------------------------------------------------------------


@pytest.mark.parametrize("reference", REFERENCES)
def test_published_models_give_what_lammps_gives(shared, reference):
    method, name = reference.split("/")
    model = read_snap(*model_files(shared, name if method == "snap" else f"{name}-quadratic"))
    calculator = PotentialCalculator(model)
    for expected in read(shared / "reference" / f"{reference}.xyz", ":"):
        atoms = expected.copy()
        atoms.calc = calculator
        for quantity in ("energy", "energies", "forces", "stress"):
            if quantity in expected.calc.results:
                theirs = expected.calc.results[quantity]
                ours = calculator.get_property(quantity, atoms)
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11 * np.abs(theirs).max())


def test_bzeroflag_is_one_where_a_file_does_not_say(shared, tmp_path):
    coeff, param = model_files(shared, "Mo-2017")
    assert "bzeroflag" not in param.read_text()
    with pytest.warns(UserWarning, match="snapparam: bzeroflag is missing, so .* 1, is taken.*'bzeroflag 1'") as caught:
        model = read_snap(coeff, param)
    assert model["bispectrum"].bzeroflag is True
    assert caught[0].filename == __file__
    param = copy(param, tmp_path)
    param.write_text(param.read_text() + "\nbzeroflag 1\n")
    assert read_snap(coeff, param)["bispectrum"].bzeroflag is True


# --- round trips ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*Mo.snapparam. bzeroflag is missing:UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_published_models_survive_writing_and_reading(shared, tmp_path, name):
    model = read_snap(*model_files(shared, name))
    paths = write_snap(model, tmp_path / "first.try")
    again = read_snap(*paths)
    np.testing.assert_array_equal(coefficients_of(again), coefficients_of(model))
    assert again[0].get_params() == model[0].get_params()
    assert list(again.named_steps) == list(model.named_steps)
    for old, new in zip(paths, write_snap(again, tmp_path / "second"), strict=True):
        assert without_comments(old) == without_comments(new)


PARAMETERS = {
    "defaults": {},
    "all flags": {"bzeroflag": True, "switchflag": False, "wselfallflag": True, "bnormflag": True},
    "radii, weights": {"radii": {"Mo": 0.55, "Ni": 0.45}, "weights": [1 / 3, -0.7], "rfac0": 0.9, "rmin0": 0.3},
    "inner switching": {"switchinnerflag": True, "sinner": {"Mo": 1.1, "Ni": 1.3}, "dinner": 0.2},
    "odd 2J": {"twojmax": 3},
    "numpy numbers": {"twojmax": np.int64(2), "cutoff": np.float64(3.9), "bzeroflag": np.True_},
}


@pytest.mark.parametrize("quadratic", [False, True], ids=["linear", "quadratic"])
@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
def test_every_parameter_survives_writing_and_reading(tmp_path, parameters, quadratic):
    model = random_model(quadratic=quadratic, **parameters)
    again = read_snap(*write_snap(model, tmp_path / "model"))
    np.testing.assert_array_equal(coefficients_of(again), coefficients_of(model))
    np.testing.assert_array_equal(evaluate(again, alloy()), evaluate(model, alloy()))


@pytest.mark.parametrize("quadratic", [False, True], ids=["linear", "quadratic"])
def test_a_chem_model_survives_with_equal_components_made_equal(tmp_path, quadratic):
    model = random_model(quadratic=quadratic, chemflag=True, bnormflag=True, twojmax=2)
    first = read_snap(*write_snap(model, tmp_path / "first"))
    np.testing.assert_allclose(evaluate(first, alloy()), evaluate(model, alloy()), rtol=1e-11)
    again = read_snap(*write_snap(first, tmp_path / "again"))
    np.testing.assert_array_equal(coefficients_of(again), coefficients_of(first))


@pytest.mark.parametrize("steps", ["scaler", "quadratic scaler", "scaler quadratic", "scaler scaler"])
def test_scalers_become_part_of_the_coefficients(tmp_path, steps):
    kinds = {"scaler": FeatureScaler, "quadratic": QuadraticExpansion}
    model = make_pipeline(Bispectrum(4.0, 2, species=("Ni", "Mo")), *(kinds[s]() for s in steps.split()))
    features = model.fit_transform([alloy(seed=k) for k in range(5)])
    potential = random_model()[-1]
    potential.n_features_in_ = features.shape[1]
    potential.coef_ = np.random.default_rng(1).normal(size=(2, features.shape[1]))
    model = make_pipeline(*(step for _, step in model.steps), potential)
    again = read_snap(*write_snap(model, tmp_path / "model"))
    assert "featurescaler" not in again.named_steps
    expected = evaluate(model, alloy())
    # Centering cancels large numbers: a few digits are lost on the way.
    np.testing.assert_allclose(evaluate(again, alloy()), expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_a_fitted_model_survives_and_can_be_fitted_again(tmp_path):
    structures = []
    for seed in range(6):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        structures.append(atoms)
    targets = [atoms.get_potential_energy() for atoms in structures]
    model = make_pipeline(Bispectrum(3.5, 2), LinearPotential()).fit(structures, targets)
    again = read_snap(*write_snap(model, tmp_path / "Cu"))
    np.testing.assert_array_equal(again.predict(structures), model.predict(structures))
    again.fit(structures, targets)
    np.testing.assert_allclose(again.predict(structures), model.predict(structures), rtol=1e-9)


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(*[numbers] * 5), min_size=1, max_size=3), st.floats(1e-300, 1e300))
@settings(max_examples=50, deadline=None)
def test_numbers_are_written_with_all_their_digits(tmp_path_factory, rows, radius):
    path = tmp_path_factory.mktemp("digits") / "x.snapcoeff"
    elements = ("Mo", "Ni", "Ta")[: len(rows)]
    content = snap_text.SnapCoefficients(elements, np.full(len(rows), radius), np.array(rows)[:, 0], np.array(rows))
    path.write_text(snap_text.format_coefficients(content, ["Å", "# 1 2"]), encoding="utf-8")
    again = snap_text.read_coefficients(path)
    assert again.elements == elements
    for old, new in zip(content[1:], again[1:], strict=True):
        assert old.tobytes() == new.tobytes()


@pytest.mark.parametrize("twojmax", range(15))
def test_number_of_components_is_that_of_the_descriptor(twojmax):
    descriptor = Bispectrum(3.0, twojmax, species=("Mo",)).fit([bulk("Mo")])
    assert snap_text.n_components(twojmax) == descriptor.n_features_out_


# --- a baseline ----------------------------------------------------------------------------------


def test_a_zbl_baseline_is_written_as_hybrid_overlay_and_read_back(tmp_path):
    model = random_model()
    model[-1].baseline = ZBL(1.5, 2.75, charges={"Mo": 41.5})
    coeff, param, script = write_snap(model, tmp_path / "model")
    lines = without_comments(script)
    assert lines[0] == "pair_style hybrid/overlay zbl 1.5 2.75 snap"
    assert lines[1:4] == [
        "pair_coeff 1 1 zbl 28.0 28.0",
        "pair_coeff 1 2 zbl 28.0 41.5",
        "pair_coeff 2 2 zbl 41.5 41.5",
    ]
    assert lines[4] == "pair_coeff * * snap model.snapcoeff model.snapparam Ni Mo"
    again = read_snap(coeff, param, script=script)
    np.testing.assert_array_equal(evaluate(again, alloy()), evaluate(model, alloy()))
    assert read_snap(coeff, param)[-1].baseline is None


def test_without_a_baseline_no_script_is_written(tmp_path):
    assert [path.name for path in write_snap(random_model(), tmp_path / "x")] == ["x.snapcoeff", "x.snapparam"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.snapcoeff", "x.snapparam"]


def test_the_files_say_how_to_use_them(tmp_path):
    for path in write_snap(random_model(), tmp_path / "with space"):
        line = '# pair_coeff * * "with space.snapcoeff" "with space.snapparam" Ni Mo'
        assert line in path.read_text().splitlines()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no folder {tmp_path / 'nowhere'}; create it"):
        write_snap(random_model(), tmp_path / "nowhere" / "x")


SCRIPTS = {
    "pair_style snap\npair_coeff * * a b Ni Mo # all": None,
    "pair_style hybrid/overlay &\n snap zbl 1 2\npair_coeff * * snap a b Mo\npair_coeff 1 1 zbl 42 42": ZBL(1.0, 2.0),
}


@pytest.mark.parametrize(("text", "expected"), SCRIPTS.items(), ids=["snap alone", "other order"])
def test_scripts_are_read_as_lammps_reads_them(tmp_path, text, expected):
    script = tmp_path / "in"
    script.write_text(text)
    baseline = random_and_script(tmp_path, script)
    assert repr(baseline) == repr(expected)


def random_and_script(tmp_path, script):
    return read_text(tmp_path, script=script)[-1].baseline


BAD_SCRIPTS = {
    "": "one pair_style",
    "pair_style eam": "one pair_style",
    "pair_style snap\npair_style snap": "one pair_style",
    "units metal\npair_style snap": "only pair_style and pair_coeff",
    "pair_style hybrid/overlay zbl ${inner} 2 snap": "variables",
    "pair_style hybrid/overlay zbl one 2 snap": "expected a number",
    "pair_style hybrid/overlay zbl 1 2 snap\npair_coeff * * zbl 0.0": "cannot interpret",
    "pair_style hybrid/overlay zbl 1 2 snap lj/cut 3": "expected zbl",
    "pair_style hybrid/overlay zbl 1 2 snap\npair_coeff 1 1 zbl 42 42": "names an element",
    "pair_style hybrid/overlay zbl 1 2 snap\npair_coeff * * snap a b Mo": "expected a number",
    "pair_style hybrid/overlay zbl 1 2 snap\npair_coeff * * snap a b Ni Mo\npair_coeff 1 1 zbl 28 28\n"
    "pair_coeff 2 2 zbl 42 42": "one line a pair",
    "pair_style snap\0": "not a text file",
}


@pytest.mark.parametrize(("text", "message"), BAD_SCRIPTS.items(), ids=range(len(BAD_SCRIPTS)))
def test_scripts_that_say_anything_else_are_refused(tmp_path, text, message):
    script = tmp_path / "model.in"
    script.write_text(text)
    with pytest.raises(ValueError, match=f"model.in: .*{message}"):
        read_text(tmp_path, script=script)


# --- what the format cannot hold -----------------------------------------------------------------


def test_other_descriptors_are_refused(tmp_path):
    structures = [bulk("Cu", cubic=True), bulk("Cu", cubic=True, a=3.7)]
    model = make_pipeline(Shells(), LeastSquares()).fit(structures, [0.0, 1.0])
    with pytest.raises(TypeError, match="bispectrum components, not Shells"):
        write_snap(model, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_other_potentials_are_refused(tmp_path):
    structures = [bulk("Cu", cubic=True), bulk("Cu", cubic=True, a=3.7)]
    model = make_pipeline(Bispectrum(3.5, 2), LeastSquares()).fit(structures, [0.0, 1.0])
    with pytest.raises(ValueError, match="linear or quadratic .* LeastSquares"):
        write_snap(model, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_steps_beyond_quadratic_are_refused(tmp_path):
    model = random_model(quadratic=True)
    twice = make_pipeline(model[0], model[1], QuadraticExpansion(), LinearPotential())
    features = twice[:-1].fit_transform([alloy()])
    twice[-1].__dict__.update(random_model()[-1].__dict__)
    twice[-1].coef_, twice[-1].n_features_in_ = np.ones((2, features.shape[1])), features.shape[1]
    with pytest.raises(ValueError, match="linear or quadratic"):
        write_snap(twice, tmp_path / "x")


@pytest.mark.parametrize(
    ("baseline", "message"), [(EMT(), "baseline, EMT.* only ZBL"), (ZBL(0.0, 2.0), "positive inner distance")]
)
def test_baselines_that_lammps_has_not_are_refused(tmp_path, baseline, message):
    model = random_model()
    model[-1].baseline = baseline
    with pytest.raises(ValueError, match=message):
        write_snap(model, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_unfitted_models_are_refused(tmp_path):
    with pytest.raises(NotFittedError):
        write_snap(make_pipeline(Bispectrum(), LinearPotential()), tmp_path / "x")


def test_coefficients_that_are_not_finite_are_refused(tmp_path):
    model = random_model()
    model[-1].coef_[0, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        write_snap(model, tmp_path / "x")


# --- reading: what is accepted -------------------------------------------------------------------


def test_a_small_file_is_read(tmp_path):
    model = read_text(tmp_path)
    expected = [[1, 2, 3, 4, 5, 6], [-1, 0.5, 0.3, 0, 2, 7]]
    np.testing.assert_array_equal(coefficients_of(model), expected)
    descriptor = model["bispectrum"]
    assert descriptor.species_ == model[-1].species_ == ("Ni", "Mo")
    assert (descriptor.radii, descriptor.weights) == ((0.5, 0.6), (1.0, 0.8))
    assert (descriptor.cutoff, descriptor.twojmax, descriptor.bzeroflag) == (4.0, 2, False)


SAME_COEFF = {
    "comments": COEFF.replace("Mo 0.6 0.8", "\n# Csányi, 4 Å\nMo 0.6 0.8  # the second"),
    "latin-1 comments": COEFF.encode().replace(b"# two", "# Csányi, 4 Å".encode("latin-1")),
    "utf-8 comments": COEFF.replace("# two", "# Å"),
    "windows": COEFF.replace("\n", "\r\n"),
    "indented": COEFF.replace("\n", " \t\n  "),
    "quotes": COEFF.replace("Mo ", "'Mo' "),
    "blank lines": COEFF + "\n\n# end",
}
SAME_PARAM = {
    "comments": "# x\n\n" + PARAM.replace("\n", " # why\n"),
    "speed": PARAM + "chunksize 4096\nparallelthresh 8192\n",
    "another order": "\n".join(reversed(PARAM.splitlines())) + "\n",
    "flag last, no newline": PARAM.rstrip(),
}


@pytest.mark.parametrize("text", SAME_COEFF.values(), ids=SAME_COEFF)
def test_layout_of_coefficients_does_not_matter(tmp_path, text):
    expected = read_text(tmp_path)
    np.testing.assert_array_equal(coefficients_of(read_text(tmp_path, text)), coefficients_of(expected))


@pytest.mark.parametrize("text", SAME_PARAM.values(), ids=SAME_PARAM)
def test_layout_of_parameters_does_not_matter(tmp_path, text):
    expected = read_text(tmp_path)[0].get_params()
    assert read_text(tmp_path, param=text)[0].get_params() == expected


@pytest.mark.parametrize("species", [("Mo", "Ni"), ["Mo"], "Ni".split()])
def test_species_selects_and_orders_the_elements(tmp_path, species):
    whole, part = read_text(tmp_path), read_text(tmp_path, species=species)
    assert part[0].species_ == tuple(species)
    atoms = alloy(species)
    np.testing.assert_allclose(evaluate(part, atoms), evaluate(whole, atoms), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("quadratic", [False, True], ids=["linear", "quadratic"])
def test_species_orders_the_triples_of_a_chem_model(tmp_path, quadratic):
    parameters = {"chemflag": True, "switchinnerflag": True, "sinner": (1.1, 1.3, 1.2), "dinner": (0.2, 0.3, 0.25)}
    species = ("Ni", "Mo", "Ta")
    model = random_model(species, quadratic, twojmax=1, weights=(1.0, 0.7, 0.4), **parameters)
    paths = write_snap(model, tmp_path / "x")
    turned = read_snap(*paths, species=("Ta", "Ni", "Mo"))
    assert turned[0].sinner == (1.2, 1.1, 1.3)
    atoms = alloy(species)
    np.testing.assert_allclose(evaluate(turned, atoms), evaluate(model, atoms), rtol=1e-11, atol=1e-11)
    with pytest.raises(ValueError, match="not left out"):
        read_snap(*paths, species=("Ta", "Ni"))


@pytest.mark.parametrize("species", [("W",), ("Mo", "Mo"), (), "Mo"])
def test_species_that_the_file_has_not_are_refused(tmp_path, species):
    with pytest.raises(ValueError, match="different ones of Ni, Mo"):
        read_text(tmp_path, species=species)


# --- reading: mutilated files --------------------------------------------------------------------

BAD_COEFF = {
    "empty": ("", "truncated"),
    "counts alone": ("2 6\n", "truncated"),
    "an element short": (COEFF[: COEFF.index("Mo")], "an element should follow; it is truncated"),
    "a coefficient short": (COEFF[: COEFF.rindex("7")], "coefficient 6 of 6 of Mo should follow"),
    "cut within a number": (COEFF.rstrip(), "line 17: .*newline"),
    "fewer counted": (COEFF.replace("2 6", "2 5"), "line 10: expected an element"),
    "more counted": (COEFF.replace("2 6", "2 7"), "line 11: expected coefficient 7 of Ni alone"),
    "fewer elements counted": (COEFF.replace("2 6", "1 6"), "line 11: text after the last"),
    "huge counts": (COEFF.replace("2 6", "999999999 6"), "truncated"),
    "no counts": (COEFF.replace("2 6\n", ""), "line 3: expected two integers"),
    "real counts": (COEFF.replace("2 6", "2.0 6"), "line 3: .*an integer, not '2.0'"),
    "negative counts": (COEFF.replace("2 6", "-2 6"), "line 3: .*positive"),
    "zero counts": (COEFF.replace("2 6", "0 6"), "line 3: .*positive"),
    "three counts": (COEFF.replace("2 6", "2 6 1"), "line 3: expected two integers"),
    "nan": (COEFF.replace(".5\n", "nan\n"), "line 13: coefficient 2 of Mo .*finite number, not 'nan'"),
    "inf": (COEFF.replace(".5\n", "-inf\n"), "line 13: .*'-inf'"),
    "overflow": (COEFF.replace(".5\n", "1e999\n"), "line 13: .*'1e999'"),
    "word": (COEFF.replace(".5\n", "abc\n"), "line 13: .*'abc'"),
    "fortran": (COEFF.replace(".5\n", "1d0\n"), "line 13: .*'1d0'"),
    "underscore": (COEFF.replace(".5\n", "1_0\n"), "line 13: .*'1_0'"),
    "two numbers": (COEFF.replace(".5\n", ".5 .6\n"), "line 13: expected coefficient 2 of Mo alone"),
    "extra line": (COEFF + "8\n", "line 18: text after the last"),
    "duplicated element": (COEFF.replace("Mo", "Ni"), "element Ni occurs twice"),
    "no element": (COEFF.replace("Mo", "Xy"), "'Xy' is not the symbol"),
    "dummy element": (COEFF.replace("Mo", "X"), "'X' is not the symbol"),
    "no weight": (COEFF.replace("Mo 0.6 0.8", "Mo 0.6"), "line 11: expected an element"),
    "four words": (COEFF.replace("Mo 0.6 0.8", "Mo 0.6 0.8 1"), "line 11: expected an element"),
    "nan radius": (COEFF.replace("0.6", "nan"), "line 11: the radius of Mo"),
    "zero radius": (COEFF.replace("0.6", "0"), "line 11: the radius of Mo should be positive"),
    "inf weight": (COEFF.replace("0.8", "inf"), "line 11: the weight of Mo"),
    "nul": (COEFF.replace("3e-1", "3\0-1"), "line 14: byte 0x00: this is not a text file"),
    "not ascii": (COEFF.replace("Mo ", "Mö "), "line 11: characters other than ASCII"),
    "noise": (bytes(range(255, 0, -1)) * 20, "not a text file|ASCII"),
    "utf-16": (COEFF.encode("utf-16"), "not a text file"),
    "other 2J": (COEFF.replace("2 6", "1 12").replace("Mo 0.6 0.8\n", ""), "do not belong together|truncated"),
}
BAD_PARAM = {
    "empty": ("", "rcutfac and twojmax missing"),
    "no cutoff": (PARAM.replace("rcutfac 4.0\n", ""), "rcutfac missing"),
    "no 2J": (PARAM.replace("twojmax 2\n", ""), "twojmax missing"),
    "cut before bzeroflag": (PARAM[: PARAM.index("bzero")], "bzeroflag is missing; .*truncated"),
    "cut within a keyword": (PARAM[: PARAM.index("zeroflag")], "line 7: keyword b has no value"),
    "cut within a number": ("rfac0 1\nbzeroflag 0\ntwojmax 2\nrcutfac 4.", "line 4: .*newline"),
    "unknown keyword": (PARAM + "rcutfacs 3\n", "line 8: unknown keyword 'rcutfacs'"),
    "future keyword": (PARAM + "nnn 24\n", "line 8: unknown keyword 'nnn'"),
    "twice": (PARAM + "rcutfac 4.0\n", "line 8: keyword rcutfac occurs twice"),
    "no value": (PARAM.replace("rmin0 0", "rmin0"), "line 4: keyword rmin0 has no value"),
    "two values": (PARAM.replace("rmin0 0", "rmin0 0 1"), "line 4: keyword rmin0 takes one value"),
    "nan": (PARAM.replace("4.0", "nan"), "line 1: rcutfac .*finite number"),
    "negative cutoff": (PARAM.replace("4.0", "-4.0"), "cutoff=-4.0"),
    "zero cutoff": (PARAM.replace("4.0", "0"), "cutoff=0.0"),
    "real 2J": (PARAM.replace("twojmax 2", "twojmax 2.0"), "line 2: twojmax should be an integer"),
    "negative 2J": (PARAM.replace("twojmax 2", "twojmax -2"), "line 2: .*not be negative"),
    "other 2J": (PARAM.replace("twojmax 2", "twojmax 4"), "6 coefficients .* with 15 .*do not belong together"),
    "huge 2J": (PARAM.replace("twojmax 2", "twojmax 999999999"), "do not belong together"),
    "quadratic": (PARAM.replace("quadraticflag 0", "quadraticflag 1"), "6 coefficients .* with 21 .*quadratic"),
    "chem": (PARAM + "chemflag 1\n", "6 coefficients .* with 41 .*triples of 2 elements"),
    "flag 2": (PARAM.replace("bzeroflag 0", "bzeroflag 2"), "line 7: bzeroflag should be 0 or 1"),
    "flag -1": (PARAM.replace("bzeroflag 0", "bzeroflag -1"), "line 7: bzeroflag should be 0 or 1"),
    "old components": (PARAM.replace("diagonalstyle 3", "diagonalstyle 0"), "line 5: diagonalstyle 0: only 3"),
    "bad rmin0": (PARAM.replace("rmin0 0", "rmin0 5"), "rmin0=5.0"),
    "bad rfac0": (PARAM.replace("0.99363", "1.5"), "rfac0=1.5"),
    "inner without flag": (PARAM + "sinner 1 1\n", "sinner without switchinnerflag"),
    "flag without inner": (PARAM + "switchinnerflag 1\nsinner 1 1\n", "needs both sinner and dinner"),
    "one inner": (PARAM + "switchinnerflag 1\nsinner 1\ndinner 1 1\n", "1 values of sinner for the 2 elements"),
    "cut inner": (PARAM + "switchinnerflag 1\ndinner 1 1\nsinner 1 1", "line 10: .*newline"),
    "noise": (bytes(range(255, 0, -1)) * 20, "not a text file|ASCII"),
    "the other file": (COEFF, "line 3: unknown keyword '2'"),
}


@pytest.mark.parametrize(("text", "message"), BAD_COEFF.values(), ids=BAD_COEFF)
def test_bad_coefficient_files_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"a.snapcoeff(:|, ).*({message})"):
        read_text(tmp_path, text)


@pytest.mark.parametrize(("text", "message"), BAD_PARAM.values(), ids=BAD_PARAM)
def test_bad_parameter_files_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"a.snap(param|coeff).*({message})"):
        read_text(tmp_path, param=text)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_snap(tmp_path / "no.snapcoeff", tmp_path / "no.snapparam")


def test_a_cut_coefficient_file_is_an_error(shared, tmp_path):
    path = copy(model_files(shared, "Ni-Mo")[0], tmp_path)
    check_every_cut(path, snap_text.read_coefficients, step=7)


def test_a_cut_file_of_ours_is_an_error(tmp_path):
    coeff, param = write_snap(random_model(quadratic=True), tmp_path / "x")
    check_every_cut(coeff, snap_text.read_coefficients, step=7)
    check_every_cut(param, snap_text.read_parameters)


def test_a_cut_published_parameter_file_is_an_error(shared, tmp_path):
    path = copy(model_files(shared, "Mo")[1], tmp_path)
    # Its first two lines alone are a complete file with LAMMPS' defaults, and nobody can tell.
    content = path.read_bytes()
    complete = content.index(b"rfac0")
    check_every_cut(path, snap_text.read_parameters, known={complete})
    path.write_bytes(content[:complete])
    with pytest.warns(UserWarning, match="bzeroflag is missing.*cut off"):
        snap_text.read_parameters(path)


def copy(path, folder):
    return Path(shutil.copy(path, folder))


def check_every_cut(path, reader, step=1, known=()):
    """Each beginning of a file is refused, or is read as the whole file."""
    content = path.read_bytes()
    whole = repr(reader(path))
    stops = {*range(0, len(content), step), *range(max(0, len(content) - 40), len(content))} - set(known)
    wrong = [stop for stop in stops if outcome_of(reader, path, content[:stop]) not in ("refused", whole)]
    assert not wrong


def outcome_of(reader, path, content):
    path.write_bytes(content)
    try:
        return repr(reader(path))
    except ValueError as error:
        return "refused" if str(path) in str(error) else f"unclear: {error}"


@given(st.binary(max_size=200), st.integers(0, len(COEFF)))
@settings(max_examples=100, deadline=None)
def test_noise_within_a_file_is_a_clear_error_if_it_is_one(tmp_path_factory, noise, place):
    path = tmp_path_factory.mktemp("noise") / "x"
    content = COEFF.encode()[:place] + noise + COEFF.encode()[place:]
    assert "unclear" not in outcome_of(snap_text.read_coefficients, path, content)
    assert outcome_of(snap_text.read_parameters, path, content) == "refused"
