"""GAP for the command line: a sparse Gaussian process, with sigmas and δ of the largest marginal likelihood."""

import warnings
from collections import Counter

from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from mlfeat.cli._guess import guess_cutoff, has_published_groups, published, species_of, without_groups
from mlfeat.descriptors import SOAP
from mlfeat.potentials import GaussianApproximationPotential

SIGMAS = ("energy_sigma", "force_sigma", "stress_sigma")
OPTIONS = ("n_sparse", "n_max", "l_max", *SIGMAS)
_UNKNOWN = {"delta": 1.0, "energy_sigma": 0.01, "force_sigma": 0.05, "stress_sigma": 0.001, "group_sigmas": None}
_N_SPARSE = 1000  # for each species: the fit takes seconds to minutes, and more seldom lower the errors much
# The likelihood takes errors of forces for independent. They are not, and so many that energies count too little: a
# smaller sigma of theirs lowers their errors more than it raises those of forces.
_ENERGY_SHARE = 0.2
_TOLERANCE = 1e-6  # eV; what an atom's energy may change by to make the potential faster
_SAMPLE = 10000  # atoms on which that is measured


def gap(structures, settings):
    """SOAP and Gaussian process; settings as published for the element, or from the data."""
    species = species_of(structures)
    model = published("gap", species) if settings.presets else None
    # Sigmas tell what the errors of the data and the cutoff are: published ones belong to the published data.
    known = model is not None and settings.cutoff is None and has_published_groups(structures)
    if model is None:
        cutoff = guess_cutoff(structures)
        # A cutoff function that falls over half of the cutoff does better than one that falls over 0.5 Å. With the
        # density of all species as a factor, alloys that are occupied otherwise are not all unlike: errors of
        # disordered ones are lower, and features fewer.
        compression = "mu1nu1" if len(species) > 1 else None
        descriptor = SOAP(cutoff, species=species, cutoff_transition_width=cutoff / 2, compression=compression)
        model = make_pipeline(descriptor, GaussianApproximationPotential(zeta=(1, 4)))
    descriptor, potential = model[0], model[-1]
    size = {"n_max": settings.n_max, "l_max": settings.l_max}
    descriptor.set_params(n_jobs=settings.threads, **{name: n for name, n in size.items() if n is not None})
    if settings.cutoff is not None:
        share = descriptor.cutoff_transition_width / descriptor.cutoff
        descriptor.set_params(cutoff=settings.cutoff, cutoff_transition_width=share * settings.cutoff)
    if not known:
        potential.set_params(**_UNKNOWN, optimizer="fmin_l_bfgs_b", n_sparse=_N_SPARSE)
    if settings.sigmas:
        potential.set_params(**settings.sigmas, optimizer=None)
    n_sparse = settings.n_sparse or _half_of_the_environments(structures, potential.n_sparse)
    potential.set_params(n_sparse=n_sparse, n_jobs=settings.threads)
    return model


def _half_of_the_environments(structures, limit):
    """Number of sparse points of each species, at most ``limit``: all environments would be slow and no better."""
    counts = Counter(symbol for atoms in structures for symbol in atoms.symbols)
    return {symbol: min(limit, (count + 1) // 2) for symbol, count in sorted(counts.items())}


def fit_gap(model, structures, targets, settings):
    """Fit, with the sigmas and δ that were found as parameters afterwards, and compress the sum."""
    if model[-1].group_sigmas is None:
        structures = without_groups(structures)
    # Threads of BLAS gain little beside those of the fit, and wait long for one another on a busy machine.
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        if settings.n_sparse is None:  # in crystals many environments are the same
            warnings.filterwarnings("ignore", message=".*sparse points of .* were asked for")
        model.fit(structures, targets)
        if model[-1].optimizer is not None:
            share = 1.0 if all(forces is None for forces in targets["forces"]) else _ENERGY_SHARE
            model.steps[-1] = (model.steps[-1][0], _as_found(model[-1], share))
        some = structures[:: 1 + sum(map(len, structures)) // _SAMPLE]
        model[-1].compress_(_TOLERANCE, model[:-1].transform(some))
    return model


def _as_found(potential, share):
    """The potential with δ and sigmas that it found as parameters, and a share of that of energies."""
    deltas = {block["name"]: block["delta"] for block in potential.blocks_}
    found = {name: getattr(potential, f"{name}_") for name in SIGMAS}
    found["energy_sigma"] *= share
    return potential.reweighted(**found, delta=deltas, optimizer=None)
