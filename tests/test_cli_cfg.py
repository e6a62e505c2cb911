"""The commands that take data, with MLIP's configuration files."""

from argparse import Namespace

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from mlfeat import make_targets
from mlfeat.cli import main
from mlfeat.cli._data import read_structures
from mlfeat.cli._errors import UsageError
from mlfeat.io import write_cfg
from mlfeat.persistence import load


@pytest.fixture
def structures():
    found = []
    for seed in range(4):
        atoms = bulk("Cu", cubic=True)
        atoms.symbols[seed] = "Ni"
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        results = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
        atoms.calc = SinglePointCalculator(atoms, **results)
        found.append(atoms)
    return found


@pytest.fixture
def foreign(structures, tmp_path):
    """A file that does not say which elements its types are."""
    path = write_cfg(tmp_path / "train.cfg", structures, ["Ni", "Cu"])
    lines = [line for line in path.read_text().splitlines() if "species_of_types" not in line]
    path.write_text("\n".join(["", *lines]))
    return path


def test_fit_takes_the_file(foreign, tmp_path):
    arguments = [str(foreign), f"{tmp_path}/model", "--types=Ni,Cu", "--twojmax=1", "--trials=1", "--alpha=1e-3"]
    assert main(["fit", *arguments, "--cutoff=3"]) == 0
    assert load(tmp_path / "model")[0].species_ == ("Cu", "Ni")


@pytest.mark.parametrize(("index", "chosen"), [("", slice(None)), ("@1:3", slice(1, 3)), ("@-1", slice(3, 4))])
def test_structures_are_selected_as_in_other_files(structures, tmp_path, index, chosen):
    path = write_cfg(tmp_path / "train.cfg", structures)
    found = read_structures(f"{path}{index}")
    np.testing.assert_array_equal(make_targets(found)["energy"], make_targets(structures[chosen])["energy"])


def test_types_without_elements_and_indices_that_are_none_are_refused(foreign):
    with pytest.raises(UsageError, match="^structure 0 of .*train.cfg, line 2: the file does not say which elements"):
        read_structures(foreign)
    with pytest.raises(UsageError, match="train.cfg: index='x'"):
        read_structures(f"{foreign}@x", Namespace(types=["Ni", "Cu"]))
    with pytest.raises(UsageError, match="train.cfg: there is no structure 9"):
        read_structures(f"{foreign}@9", Namespace(types=["Ni", "Cu"]))


def test_files_of_atomeye_are_still_read(structures, tmp_path):
    ase.io.write(tmp_path / "a.cfg", structures[0])
    (atoms,) = read_structures(tmp_path / "a.cfg")
    assert atoms.get_chemical_symbols() == structures[0].get_chemical_symbols()
