"""One file of arrays and JSON: what goes in comes out, and damage never gives a wrong model."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import ARDRegression, BayesianRidge, Lasso, LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlfeat import _archive, make_targets, persistence, predict_targets
from mlfeat.descriptors import Bispectrum
from mlfeat.io import read_snap
from mlfeat.persistence import load, register, save
from mlfeat.potentials import ZBL, LinearPotential
from mlfeat.preprocessing import FeatureScaler, QuadraticExpansion

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4))
Y = X @ [1.0, -2.0, 0.5, 3.0] + 0.1 * RNG.normal(size=12)


@register
class Toy(RegressorMixin, BaseEstimator):
    """A potential's shape: a nested regressor, odd parameters, every kind of fitted state."""

    _state = ("coef_", "table_", "fitted_", "never_set_")

    def __init__(self, regressor=None, weights=None, baseline=None):
        self.regressor = regressor
        self.weights = weights
        self.baseline = baseline

    def fit(self, X, y):
        self.coef_ = np.linalg.lstsq(X, y, rcond=None)[0]
        self.fitted_ = LinearRegression().fit(X, y)
        self.table_ = {("bulk", "energy"): X.T @ X, "empty": np.zeros((0, 3)), 3: [None, -np.inf]}
        return self

    def predict(self, X):
        return X @ self.coef_


WEIGHTS = {"bulk": (1.0, 2.0, np.nan), "hot": np.float32(0.1), "ids": np.arange(3), "x": "Å"}


@pytest.fixture
def toy():
    return make_pipeline(StandardScaler(), Toy(Ridge(np.float64(1e-8)), WEIGHTS)).fit(X, Y)


@pytest.fixture
def file(toy, tmp_path):
    return save(toy, tmp_path / "toy.mlfeat")


def same(a, b):
    """Equality of nested state, types and NaN included."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, BaseEstimator):
        return type(a) is type(b) and same(sorted(vars(a).items()), sorted(vars(b).items()))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a)


def test_a_model_comes_back_as_it_was(toy, file):
    again = load(file)
    assert same(toy, again)
    assert again.predict(X).tobytes() == toy.predict(X).tobytes()


@pytest.mark.parametrize(
    "regressor",
    [Ridge(), LinearRegression(), BayesianRidge(), ARDRegression(), Lasso(0.01)],
    ids=lambda r: type(r).__name__,
)
def test_scikit_learns_linear_models_come_back(regressor, tmp_path):
    model = make_pipeline(StandardScaler(), regressor).fit(X, Y)
    again = load(save(model, tmp_path / "model"))
    assert again.predict(X).tobytes() == model.predict(X).tobytes()
    assert again.get_params().keys() == model.get_params().keys()


def test_a_loaded_model_can_be_fitted_again(file):
    model = load(file)
    model[-1].table_["bulk", "energy"][0, 0] = 1.0  # arrays are writable
    assert model.fit(X, Y).score(X, Y) > 0.9


def test_equal_models_are_equal_files(toy, file, tmp_path):
    assert save(load(file), tmp_path / "again").read_bytes() == file.read_bytes()


def test_the_file_is_readable_by_eye(file):
    with zipfile.ZipFile(file) as archive:
        document = json.loads(archive.read("model.json"))
        assert all(np.lib.format.read_magic(archive.open(n)) for n in archive.namelist()[1:])
    assert document["units"]["energy"] == "eV"
    assert document["format_version"] == 1
    steps = dict(step["tuple"] for step in document["model"]["parameters"]["steps"])
    assert steps["toy"]["class"].endswith("Toy")


def test_a_pipelines_memory_stays_home(tmp_path):
    model = make_pipeline(StandardScaler(), Ridge(), memory=str(tmp_path / "cache")).fit(X, Y)
    assert load(save(model, tmp_path / "model")).memory is None


@pytest.mark.parametrize("name", ["Mo/snap", "Mo/qsnap", "MoNbTaW/snap.2020.06", "Ni-Mo/snap.2018.01"])
def test_published_models_come_back(name, shared, tmp_path):
    (coeff,) = (shared / "models" / name).glob("*.snapcoeff")
    model = read_snap(coeff, coeff.with_suffix(".snapparam"))
    again = load(save(model, tmp_path / "model"))
    species = model[0].species_
    atoms = bulk(species[0], "bcc", a=3.2, cubic=True) * 2
    atoms.symbols = [species[k % len(species)] for k in range(len(atoms))]
    atoms.rattle(0.1, seed=0)
    for expected, found in zip(*(predict_targets(m, [atoms])[0] for m in (model, again)), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert save(again, tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


# --- what cannot be saved


def test_an_unfitted_model_is_refused(tmp_path):
    with pytest.raises(NotFittedError):
        save(make_pipeline(StandardScaler(), Toy()), tmp_path / "model")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (EMT(), r"toy.*baseline is a ase.*EMT.*an ASE calculator is a program"),
        (np.random.default_rng(0), "Generator, which a file of arrays cannot hold"),
        (len, "cannot hold"),
        ({"a": [1, 2j]}, r"baseline\['a'\]\[1\] is a builtins.complex"),
        (np.array([object()]), "array of object"),
        (np.longdouble(1), "up to 64 bits"),
    ],
    ids=["calculator", "generator", "function", "complex", "objects", "longdouble"],
)
def test_what_a_file_cannot_hold_is_refused_with_the_reason(value, reason, tmp_path):
    model = Toy(baseline=value).fit(X, Y)
    with pytest.raises(ValueError, match=f"(?i){reason}"):
        save(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_an_unregistered_class_is_refused(tmp_path):
    class Other(Toy):
        pass

    with pytest.raises(ValueError, match="Other.*register takes classes of your own"):
        save(Other().fit(X, Y), tmp_path / "model")
    with pytest.raises(TypeError, match="_state"):
        register(Ridge)


def test_a_missing_folder_is_named(toy, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no folder {tmp_path / 'nowhere'}; create it"):
        save(toy, tmp_path / "nowhere" / "x")


def test_a_failed_write_leaves_the_old_file(toy, file, monkeypatch):
    before = file.read_bytes()

    def full(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(toy[-1], file)
    assert file.read_bytes() == before
    assert [file] == list(file.parent.iterdir())


# --- what must not be loaded


def test_every_truncation_is_an_error(file):
    blob = file.read_bytes()
    for length in [*range(0, len(blob), 31), len(blob) - 1]:
        file.write_bytes(blob[:length])
        with pytest.raises(ValueError, match=str(file)):
            load(file)


def test_a_changed_byte_never_gives_another_model(toy, file):
    blob = file.read_bytes()
    n_errors = 0
    positions = range(0, len(blob), 5)
    for position in positions:
        changed = bytearray(blob)
        changed[position] ^= 1 << int(RNG.integers(8))
        file.write_bytes(changed)
        try:
            assert same(load(file), toy)  # dates and attributes of the zip directory do not matter
        except ValueError as error:
            assert str(file) in str(error)  # noqa: PT017
            n_errors += 1
    assert n_errors > 0.8 * len(positions)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_an_error(seed, file):
    rng = np.random.default_rng(seed)
    blob = bytearray(file.read_bytes())
    start, stop = np.sort(rng.integers(len(blob), size=2))
    blob[start : stop + 1] = rng.bytes(stop + 1 - start)
    file.write_bytes(blob if seed else rng.bytes(1000))
    with pytest.raises(ValueError, match=str(file)):
        load(file)


def test_a_foreign_zip_is_an_error(tmp_path):
    path = tmp_path / "foreign.npz"
    np.savez(path, a=np.ones(3))
    with pytest.raises(ValueError, match="there is no model.json"):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")


def forge(file, change=lambda document, members: None, compression=zipfile.ZIP_STORED):
    """Rewrite a file with its document and members changed, and a hash that fits them."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    document = json.loads(members.pop("model.json"))
    change(document, members)
    if "sha256" in document:
        try:
            arrays = {name: np.load(io.BytesIO(content)) for name, content in members.items()}
            document["sha256"] = _archive.content_hash(document, arrays)
        except (ValueError, OverflowError, MemoryError):
            document["sha256"] = hashlib.sha256().hexdigest()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("model.json", json.dumps(document))
        for name, content in members.items():
            archive.writestr(name, content)


def toy_node(document):
    return document["model"]["parameters"]["steps"][1]["tuple"][1]


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def absurd_header(shape):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': " + shape + b", }"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


FORGERIES = {
    "format": (lambda d, m: d.update(format="zip"), "the format is another one"),
    "newer": (lambda d, m: d.update(format_version=2), "update mlfeat"),
    "no version": (lambda d, m: d.pop("format_version"), "format version None"),
    "units": (lambda d, m: d["units"].update(energy="Ha"), "units"),
    "extra key": (lambda d, m: d.update(comment="hello"), "should have the keys"),
    "no hash": (lambda d, m: d.pop("sha256"), "should have the keys"),
    "unknown class": (lambda d, m: d["model"].update({"class": "os.system"}), "unknown class"),
    "class is a list": (lambda d, m: d["model"].update({"class": []}), "unknown class"),
    "no parameters": (lambda d, m: d["model"].update(parameters=None), "no tables"),
    "no steps": (lambda d, m: d["model"].update(parameters={}), "no list of named steps"),
    "memory": (lambda d, m: d["model"]["parameters"].update(memory="/tmp"), "no parameters"),
    "parameter": (lambda d, m: toy_node(d)["parameters"].update(z=1), r"no parameters \['z'\]"),
    "state": (lambda d, m: toy_node(d)["state"].update(z_=1), r"no fitted attributes \['z_'\]"),
    "method": (lambda d, m: toy_node(d)["state"].update(predict=1), "no fitted attributes"),
    "not a model": (lambda d, m: d.update(model=3), "no estimator"),
    "kind": (lambda d, m: d.update(model={"pickle": "cos"}), "unknown kind"),
    "missing member": (lambda d, m: m.pop("0.npy"), "missing or used twice"),
    "extra member": (lambda d, m: m.update({"9999.npy": npy(np.ones(2))}), "nothing refers to"),
    "no array": (lambda d, m: m.update({"0.npy": b"no array"}), "0.npy is not an array"),
    "pickle": (lambda d, m: m.update({"0.npy": npy(np.array([{}]))}), "array of object"),
    "fortran": (lambda d, m: m.update({"0.npy": npy(np.ones((2, 3)).T)}), "does not write"),
    "huge": (lambda d, m: m.update({"0.npy": absurd_header(b"(10**9,)")}), "0.npy"),
    "huge shape": (
        lambda d, m: m.update({"0.npy": absurd_header(b"(1000000000000, 1000000000)")}),
        "has another length",
    ),
    "huge empty shape": (
        lambda d, m: m.update({"0.npy": absurd_header(b"(0, 1000000000000000000000000)")}),
        "has no such shape",
    ),
    "negative shape": (lambda d, m: m.update({"0.npy": absurd_header(b"(-1, 0)")}), "length"),
}


@pytest.mark.parametrize(("change", "reason"), FORGERIES.values(), ids=FORGERIES.keys())
def test_forged_files_are_refused_with_the_reason(change, reason, file):
    forge(file, change)
    with pytest.raises(ValueError, match=reason) as caught:
        load(file)
    assert str(file) in str(caught.value)


@pytest.fixture(scope="module")
def snap_file(tmp_path_factory):
    structures = []
    for seed in range(4):
        atoms = bulk("Cu", cubic=True)
        atoms.symbols[seed % 2] = "Ni"
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        structures.append(atoms)
    potential = LinearPotential(Ridge(1e-6), baseline=ZBL(1.0, 2.0))
    model = make_pipeline(Bispectrum(cutoff=3.0, twojmax=1), FeatureScaler(), QuadraticExpansion(), potential)
    return save(model.fit(structures, make_targets(structures)), tmp_path_factory.mktemp("snap") / "snap.mlfeat")


def part(document, number):
    return document["model"]["parameters"]["steps"][number]["tuple"][1]


def replaced(number, change, *path):
    """A change of one array of the state of a part of the model."""

    def apply(document, members):
        node = part(document, number)["state"]
        for key in path:
            node = node[key] if "dict" not in node else dict(node["dict"])[key]
        members[node["array"]] = npy(np.ascontiguousarray(change(np.load(io.BytesIO(members[node["array"]])))))

    return apply


def spoiled(array):
    array = array.copy()
    array.flat[0] = np.nan
    return array


INCONSISTENT = {
    "cutoff": (lambda d, m: part(d, 0)["parameters"].update(cutoff=-3.0), "cutoff=-3.0"),
    "other cutoff": (lambda d, m: part(d, 0)["parameters"].update(cutoff=3.5), "cutoff_ is 3.0"),
    "twojmax": (lambda d, m: part(d, 0)["parameters"].update(twojmax=2), "n_features_out_ is 2"),
    "type": (lambda d, m: part(d, 0)["parameters"].update(radii="wide"), "radii='wide'"),
    "species": (lambda d, m: part(d, 0)["state"].update(species_={"tuple": ["Cu", "Xx"]}), "Xx is no chemical"),
    "other species": (lambda d, m: part(d, 0)["state"].update(species_={"tuple": ["Cu", "Pd"]}), "for the species"),
    "species parameter": (lambda d, m: part(d, 0)["parameters"].update(species=["Pd"]), r"species=\['Pd'\]"),
    "unfitted descriptor": (lambda d, m: part(d, 0)["state"].clear(), "not fitted"),
    "no species": (lambda d, m: part(d, 0)["state"].pop("species_"), "species_"),
    "mean": (replaced(1, lambda a: a[:, 1:], "mean_"), "mean_ has the shape"),
    "scale": (replaced(1, np.negative, "std_"), "scale_ is not positive"),
    "center": (lambda d, m: part(d, 1)["parameters"].update(center="median"), "center='median'"),
    "step species": (lambda d, m: part(d, 1)["state"].update(species_={"tuple": ["Cu", "Ni"]}), "species_ is"),
    "order of species": (
        lambda d, m: (
            part(d, 1)["parameters"].update(by_species=True),
            part(d, 1)["state"].update(species_={"tuple": ["Ni", "Cu"]}),
            [replaced(1, lambda a: np.repeat(a, 2, axis=0), name)(d, m) for name in ("min_", "max_", "mean_", "std_")],
        ),
        r"FeatureScaler is for the species \('Ni', 'Cu'\)",
    ),
    "width": (lambda d, m: part(d, 2)["state"].update(n_features_in_=3), "QuadraticExpansion is for 3 features"),
    "coef shape": (replaced(3, lambda a: a[:, 1:], "coef_"), "coef_ has the shape"),
    "coef nan": (replaced(3, spoiled, "coef_"), "coef_ has numbers that are not finite"),
    "coef strings": (replaced(3, lambda a: a.astype(str), "coef_"), "coef_ is no array"),
    "intercept": (replaced(3, lambda a: a[:1], "intercept_"), "intercept_ has the shape"),
    "no intercept": (lambda d, m: part(d, 3)["state"].pop("intercept_"), "intercept_"),
    "posterior": (replaced(3, spoiled, "posterior_", "factor"), "factor.*not finite"),
    "posterior shape": (replaced(3, lambda a: a[1:], "posterior_", "center"), "center.* has the shape"),
    "grader": (replaced(3, spoiled, "grader_", "mean"), "mean.*not finite"),
    "grader shape": (replaced(3, lambda a: a[:, 1:], "grader_", "factor"), "factor.* has the shape"),
    "zbl": (lambda d, m: part(d, 3)["parameters"]["baseline"]["parameters"].update(outer=0.5), "inner < outer"),
    "baseline": (lambda d, m: part(d, 3)["parameters"].update(baseline="zbl"), "no calculator"),
}


@pytest.mark.parametrize(("change", "reason"), INCONSISTENT.values(), ids=INCONSISTENT.keys())
def test_files_whose_parts_do_not_go_together_are_refused(change, reason, snap_file, tmp_path):
    file = tmp_path / "forged.mlfeat"
    file.write_bytes(snap_file.read_bytes())
    forge(file)
    load(file)
    forge(file, change)
    with pytest.raises(ValueError, match=f"do not go together: .*{reason}") as caught:
        load(file)
    assert str(file) in str(caught.value)


def test_classes_of_ones_own_can_check_what_was_loaded(toy, file, monkeypatch):
    def check(self):
        if self.coef_[0] > 0:
            raise ValueError("coef_ is positive")

    monkeypatch.setattr(Toy, "_check_fitted", check, raising=False)
    with pytest.raises(ValueError, match="parts of the Toy do not go together: coef_ is positive"):
        load(file)


def test_a_model_changed_since_its_fit_is_not_saved(snap_file, tmp_path):
    model = load(snap_file)
    model[0].set_params(twojmax=2)
    with pytest.raises(ValueError, match="n_features_out_ is 2.*fit the model"):
        save(model, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_species_that_was_never_seen_is_no_damage(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    model = make_pipeline(Bispectrum(cutoff=3.0, twojmax=1, species=["Cu", "Ni"]), LinearPotential(Ridge(1e-6)))
    model.fit([atoms], make_targets([atoms]))
    assert same(load(save(model, tmp_path / "x"))[-1].grader_, model[-1].grader_)


def test_forging_alone_changes_nothing(toy, file):
    forge(file)
    assert same(load(file), toy)


def test_an_edited_parameter_is_found_by_the_hash(file):
    blob = file.read_bytes()
    edited = blob.replace(b'"with_mean": true', b'"with_mean":false')
    assert edited != blob
    file.write_bytes(edited)
    with pytest.raises(ValueError, match=str(file)):
        load(file)


def test_compressed_members_are_refused(file):
    forge(file, lambda d, m: m.update({"0.npy": npy(np.zeros(10**6))}), zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        load(file)


def test_members_that_claim_more_than_the_file_are_refused(file):
    blob = file.read_bytes()
    directory = blob.rfind(b"PK\x01\x02")
    changed = bytearray(blob)
    changed[directory + 20 : directory + 28] = b"\xff\xff\xff\x7f" * 2
    file.write_bytes(changed)
    with pytest.raises(ValueError, match="larger than the file"):
        load(file)


def test_two_members_of_one_name_are_refused(file):
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("0.npy", npy(np.ones(4)))
    with pytest.raises(ValueError, match="same name"):
        load(file)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 10**5,
        b"{" + b'"a":{' * 10**5,
        b'{"format": NaN}',
        b'{"format": 1, "format": 2}',
        b"\xff\xfe",
        b"[]",
        b"9" * 5000,
    ],
    ids=["deep lists", "deep tables", "NaN", "twice", "bytes", "no table", "long number"],
)
def test_documents_that_are_no_documents_are_errors(text, file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.json", text)
    with pytest.raises(ValueError, match="model.json"):
        load(file)


def test_a_deep_model_is_an_error(file):
    node = 1
    for _ in range(900):
        node = [node]
    forge(file, lambda d, m: (d.update(model=node), m.clear()))
    with pytest.raises(ValueError, match=str(file)):
        load(file)


def test_loading_executes_nothing(file, monkeypatch):
    def executed(*args, **kwargs):
        raise AssertionError("code from the file was run")

    for name in ("pickle.loads", "pickle.load", "pickle._loads", "builtins.eval", "builtins.exec"):
        monkeypatch.setattr(name, executed)
    load(file)


def test_every_class_of_the_table_exists():
    for name in persistence._CLASSES:
        assert persistence._class_name(persistence._class(name)) == name
