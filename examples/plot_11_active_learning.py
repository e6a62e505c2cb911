"""
Active learning by extrapolation grade
======================================

How few structures does a potential need, if the simulation says which?

A moment tensor potential is linear in its features, so that a training set can be judged without reference energies: an
atom is known whose features are a combination of those of training atoms with no coefficient above one. The largest
coefficient is its extrapolation grade, found by MaxVol.
"""

# %%
# Reference calculations, here by ASE's EMT potential, are what is to be saved. There are four of them at first: cells
# of 32 copper atoms, at four volumes, with atoms off their sites by 0.05 Å.
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator


def labeled(atoms):
    atoms = atoms.copy()
    atoms.calc = EMT()
    results = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def crystal(a=3.68):
    return bulk("Cu", a=a, cubic=True) * (2, 2, 2)


train = []
for k, a in enumerate((3.55, 3.60, 3.65, 3.70)):
    atoms = crystal(a)
    atoms.rattle(0.05, seed=k)
    train.append(labeled(atoms))

# %%
# The simulation heats the crystal from 300 K to 2000 K in 4 ps, beyond its melting point. Every tenth step the
# calculator is asked for the grades. With a grade above ten, forces are no longer to be trusted, and the run ends.
from ase import units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from mlfeat import PotentialCalculator


def heat(calculator, end=np.inf):
    """Frames, and the largest grade in each."""
    atoms, frames, grades = crystal(), [], []
    atoms.calc = calculator
    thermalize_momenta(atoms, 300, rng=np.random.default_rng(0))
    dynamics = Langevin(
        atoms, 4 * units.fs, temperature_K=300, friction=0.01 / units.fs, fixcm=False, rng=np.random.RandomState(0)
    )
    for temperature in np.linspace(300, 2000, 100):
        dynamics.set_temperature(temperature_K=temperature)
        dynamics.run(10)
        frames.append(atoms.copy())
        if isinstance(calculator, PotentialCalculator):
            grades.append(calculator.get_property("extrapolation_grade", atoms).max())
            if grades[-1] > end:
                break
    return frames, np.array(grades)


# %%
# To judge the outcome, not to learn from: the same with EMT.
from mlfeat import make_targets

test = [labeled(atoms) for atoms in heat(EMT())[0]]
test_targets = make_targets(test)

# %%
# A round: fit, simulate, collect the frames with a grade above two, and choose among them. ``select_structures`` takes
# the one with the largest grade, reckons it as known, grades the others anew, and so on: neighboring frames are new in
# the same way, and one of them is enough. Rounds end when no frame is above two.
from sklearn.pipeline import make_pipeline

from mlfeat import MomentTensor, MomentTensorPotential, extrapolation_grades, predict_targets, select_structures
from mlfeat.metrics import neg_errors

model = make_pipeline(MomentTensor(cutoff=5.0, level=12), MomentTensorPotential(random_state=0))
rounds, errors_in_test, grades_in_test = [], [], []
while True:
    model.fit(train, make_targets(train))
    frames, grades = heat(PotentialCalculator(model), end=10)
    scores = neg_errors(model, test, test_targets)
    rounds.append((len(train), grades))
    print(
        f"{len(train)} structures: simulated {len(grades) * 0.04:.2f} ps, largest grade {grades.max():.1f}; errors in "
        f"the test {-1000 * scores['neg_energy_rmse']:.2f} meV/atom, {-1000 * scores['neg_force_rmse']:.1f} meV/Å"
    )
    predicted = predict_targets(model, test)
    errors_in_test.append([np.sqrt(np.mean((p - t) ** 2)) for p, t in zip(predicted["forces"], test_targets["forces"])])
    grades_in_test.append(extrapolation_grades(model, test))
    unknown = [atoms for atoms, grade in zip(frames, grades, strict=True) if grade > 2]
    if not unknown or len(rounds) == 12:
        break
    chosen, _ = select_structures(model, unknown, 5, threshold=2)
    train += [labeled(unknown[k]) for k in chosen]

# %%
import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, figsize=(9.5, 4))
colors = plt.get_cmap("viridis_r")(np.linspace(0.1, 1, len(rounds)))
for color, (n_structures, grades) in zip(colors, rounds, strict=True):
    time = 0.04 * np.arange(1, len(grades) + 1)
    axes[0].semilogy(time, grades, color=color, linewidth=1, label=f"{n_structures} structures")
    axes[0].plot(time[-1], grades[-1], "o", color=color, markersize=4)
for limit in (2, 10):
    axes[0].axhline(limit, color="0.6", linewidth=1, linestyle=":")
axes[0].set(xlabel="time (ps)", ylabel="largest grade", ylim=(0.5, 150))
axes[0].legend(fontsize="small", ncols=2, loc="upper left")
for color, which, label in ((colors[0], 0, "first"), (colors[-1], -1, "last")):
    n_structures = rounds[which][0]
    axes[1].loglog(grades_in_test[which], errors_in_test[which], ".", color=color, label=f"{n_structures} structures")
axes[1].set(xlabel="largest grade in a frame of the test", ylabel="RMS error of its forces (eV/Å)")
axes[1].legend()
fig.tight_layout()

# %%
# Left, the rounds: each goes on until it meets what the ones before had not shown it. Right, each frame of the test:
# with few structures the grade tells large errors from small ones, without a reference calculation. Errors need not
# fall in every round, but what is left of them at the end is small in all frames.
n_frames = sum(len(grades) for _, grades in rounds)
print(f"{len(train)} reference calculations, for {n_frames} frames that were looked at")
for n_structures, worst in ((4, max(errors_in_test[0])), (len(train), max(errors_in_test[-1]))):
    print(f"{n_structures} structures: RMS error of forces in the worst frame of the test {1000 * worst:.1f} meV/Å")
