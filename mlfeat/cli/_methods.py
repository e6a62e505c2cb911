"""The potentials that the command line knows: a new one is one entry in `METHODS`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from mlfeat.cli import _gap, _mtp, _nnp, _snap


@dataclass(frozen=True)
class Settings:
    """What the user asks for; None leaves a choice to the method."""

    cutoff: float | None = None
    presets: bool = True
    threads: int = 1
    twojmax: int | None = None
    alpha: float | None = None
    weights: dict = field(default_factory=dict)  # energy_weight, force_weight, stress_weight
    trials: int | None = None
    n_sparse: int | None = None
    n_max: int | None = None
    l_max: int | None = None
    sigmas: dict = field(default_factory=dict)  # energy_sigma, force_sigma, stress_sigma
    epochs: int | None = None
    hidden_layers: tuple | None = None
    models: int | None = None
    level: int | None = None
    min_dist: float | None = None
    iterations: int | None = None


@dataclass(frozen=True)
class Method:
    """A potential that the command line can fit.

    ``build(structures, settings)`` gives the unfitted Pipeline for training structures, ``fit(model, structures,
    targets, settings)`` the fitted one, after a search for what the settings leave open; a model that ``build`` gives
    fitted has no ``fit``. ``options`` names the settings that not every method has, as arguments.
    """

    label: str
    about: str
    build: Callable
    fit: Callable | None
    options: tuple


METHODS = {
    "snap": Method("SNAP", "linear in the bispectrum components", _snap.snap, _snap.fit_linear, _snap.OPTIONS),
    "qsnap": Method(
        "qSNAP", "linear in the components and their products", _snap.qsnap, _snap.fit_linear, _snap.OPTIONS
    ),
    "gap": Method("GAP", "Gaussian process of SOAP power spectra", _gap.gap, _gap.fit_gap, _gap.OPTIONS),
    "nnp": Method("NNP", "neural networks of symmetry functions", _nnp.nnp, _nnp.fit_nnp, _nnp.OPTIONS),
    "mtp": Method("MTP", "contractions of moments that are learnt", _mtp.mtp, _mtp.fit_mtp, _mtp.OPTIONS),
}
