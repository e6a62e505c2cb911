"""
Train a neural network
======================

How many epochs does a network need?

A Behler-Parrinello potential is a small network for each element, which turns an atom's symmetry functions into its
energy. Its weights enter in no linear way, so they are not solved for but trained, in passes over the data: epochs.
"""

# %%
# Crystals, strained, with vacancies and surfaces, hot and molten:
from mlfeat.datasets import make_emt_structures, split_by_group

train, test = split_by_group(make_emt_structures("Cu"))

# %%
# The descriptor's default has 39 functions. The scaler gives each of them a mean of zero and a range of one, so that
# all weights start alike. A Kalman filter then learns from one measurement after the other: an energy, or a component
# of a force or stress. One force component in ten is enough for an epoch, drawn anew each time. A tenth of the
# structures is set aside, and training ends when the error on these has not fallen for five epochs, or after 15.
from sklearn.pipeline import make_pipeline

from mlfeat import ACSF, FeatureScaler, NeuralNetworkPotential, make_targets

network = NeuralNetworkPotential((16, 16), force_fraction=0.1, early_stopping=True, max_iter=15, random_state=0)
model = make_pipeline(ACSF(cutoff=5.0), FeatureScaler("mean", "range"), network)
model.fit(train, make_targets(train))
print(f"{network.n_parameters_} weights and biases, {network.n_iter_} epochs")

# %%
# The learning curve is in ``history_``. The first epoch does most of the work: a filter that remembers how all weights
# depend on each other makes good use of every single measurement. The networks that did best on the structures set
# aside are kept, whatever comes after.
from mlfeat.plotting import TrainingHistoryDisplay

TrainingHistoryDisplay.from_estimator(network)

# %%
# Errors on structures that had no part in the training:
from mlfeat.plotting import ParityDisplay

ParityDisplay.from_estimator(model, test)

# %%
# What does an epoch cost? The filter has a row and a column for each weight, and each measurement changes all of it:
# the fewer measurements, the cheaper. Solvers that follow the gradient of the loss have cheaper steps, and need many
# more of them. Each of these has about two seconds, with a third of the structures:
import time

import numpy as np

some = train[::3]
features, targets = model[:-1].transform(some), make_targets(some)
solvers = {
    "Kalman filter, all forces": {"force_fraction": 1.0, "max_iter": 5},
    "Kalman filter, one in ten": {"force_fraction": 0.1, "max_iter": 15},
    "L-BFGS (20 iterations an epoch)": {"solver": "lbfgs", "max_iter": 4},
    "Adam": {"solver": "adam", "max_iter": 40},
}
curves = {}
for name, parameters in solvers.items():
    start = time.process_time()
    trained = NeuralNetworkPotential((16, 16), random_state=0, **parameters).fit(features, targets)
    errors = trained.history_[0]["forces"]
    curves[name] = np.linspace(0, time.process_time() - start, len(errors) + 1)[1:], errors

# %%
import matplotlib.pyplot as plt

fig, ax = plt.subplots(figsize=(6, 4))
for name, (times, errors) in curves.items():
    ax.semilogy(times, errors, ".-", label=name)
ax.set(xlabel="time (s)", ylabel="force RMSE in training (eV/Å)", ylim=(0.002, 2))
ax.legend(fontsize="small", ncols=2)
fig.tight_layout()

# %%
# With a tenth of the forces, the filter is good first; with all of them, it is better in the end. The work of the
# filter grows with the square of the number of weights, that along the gradient with the number itself: the balance is
# another one for large networks.
