"""Every descriptor and potential of the package keeps the laws of `mlfeat.testing`; new ones are found, not listed."""

import inspect
from functools import cache

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import BayesianRidge, Ridge
from sklearn.pipeline import make_pipeline

import mlfeat
from mlfeat import (
    ACSF,
    SOAP,
    Bispectrum,
    DescriptorUnion,
    FeatureScaler,
    FeatureSelector,
    GaussianApproximationPotential,
    LinearPotential,
    MomentTensor,
    MomentTensorPotential,
    NeuralNetworkPotential,
    PairDistance,
    QuadraticExpansion,
    make_descriptor_union,
    make_targets,
    potentials,
)
from mlfeat.base import Descriptor, PotentialMixin
from mlfeat.features import StructureFeatures
from mlfeat.io import read_snap
from mlfeat.testing import (
    DESCRIPTOR_LAWS,
    POTENTIAL_LAWS,
    awkward_structures,
    check_potential,
    toy_training_set,
)


def public_classes(base):
    """Names and classes of the package that have `base` among their bases."""
    return {
        name: member
        for name, member in inspect.getmembers(mlfeat, inspect.isclass)
        if issubclass(member, base) and member.__module__.startswith("mlfeat.")
    }


class Chain(Descriptor):
    """A descriptor and steps after it, as one descriptor: so that the laws hold of what steps make of derivatives."""

    def __init__(self, descriptor, steps, *, species=None, n_jobs=None):
        self.descriptor = descriptor
        self.steps = steps
        self.species = species
        self.n_jobs = n_jobs

    def fit(self, X, y=None):
        super().fit(X)
        features = self.descriptor_.transform(X)
        self.steps_ = [clone(step) for step in self.steps]
        for step in self.steps_:
            features = step.fit_transform(features)
        self.n_features_out_ = features.shape[1]
        return self

    def _setup(self):
        self.descriptor_ = clone(self.descriptor).set_params(species=self.species_)
        self.descriptor_.species_ = self.species_
        self.descriptor_._setup()
        self.cutoff_ = self.descriptor_.cutoff_
        self.n_features_out_ = 1  # until the steps are fitted

    def cache_key(self):
        return None, *(step.cache_key() for step in self.steps_), self.descriptor_.cache_key()

    def _features(self, pairs):
        self.descriptor_.n_jobs = self.n_jobs
        values, species = self.descriptor_.values(pairs), self.species_index(pairs.numbers)
        item = StructureFeatures(pairs, values, species, len(self.species_), self.descriptor_)
        for step in self.steps_:
            item = item.then(step)
        return item

    def values(self, pairs):
        return self._features(pairs).values

    def jacobian(self, pairs, start=0, stop=None):
        return self._features(pairs).jacobian(start, stop)

    def vjp(self, pairs, cotangents):
        return self._features(pairs).vjp(cotangents)

    def jvp(self, pairs, displacements):
        return self._features(pairs).jvp(displacements)

    def rows(self, pairs, values=None):
        return self._features(pairs).rows()


TWO = {"species": ("Ni", "Mo"), "radii": (0.5, 0.55), "weights": (1.0, 0.7)}
INNER = {"switchinnerflag": True, "sinner": (2.2, 2.4), "dinner": (0.3, 0.2)}
UNION = DescriptorUnion([("many", Bispectrum(4.0, 4)), ("pair", PairDistance(5.0, 6)), ("near", PairDistance(3.3, 4))])
DESCRIPTORS = {"DescriptorUnion": UNION}
DESCRIPTORS |= {name: make() for name, make in public_classes(Descriptor).items() if name not in DESCRIPTORS}
DESCRIPTORS |= {
    "Bispectrum-8": Bispectrum(cutoff=3.9, twojmax=8),
    "Bispectrum-odd": Bispectrum(cutoff=4.2, twojmax=5, rfac0=0.9, rmin0=0.4, bzeroflag=True),
    "Bispectrum-zero": Bispectrum(twojmax=0),
    "Bispectrum-two-species": Bispectrum(cutoff=4.4, twojmax=6, **TWO),
    "Bispectrum-inner": Bispectrum(cutoff=4.4, twojmax=4, **TWO, **INNER),
    "Bispectrum-chem": Bispectrum(cutoff=4.4, twojmax=4, chemflag=True, bzeroflag=True, bnormflag=True, **TWO),
    "Bispectrum-chem-all": Bispectrum(cutoff=4.4, twojmax=3, chemflag=True, wselfallflag=True, **TWO, **INNER),
    "SOAP-small": SOAP(cutoff=4.3, n_max=5, l_max=4, sigma=0.4, cutoff_transition_width=1.0, covariance_sigma0=0.1),
    "SOAP-least": SOAP(cutoff=4.0, n_max=1, l_max=0, central_weight=0.5, normalize=False),
    "SOAP-unnormalized": SOAP(cutoff=4.3, n_max=4, l_max=3, normalize=False, central_weight=0.0),
    "SOAP-gto": SOAP(cutoff=4.3, n_max=9, l_max=6, radial_basis="gto"),
    "SOAP-mu1nu1": SOAP(cutoff=4.3, n_max=4, l_max=3, compression="mu1nu1"),
    "SOAP-mu2": SOAP(cutoff=4.3, n_max=4, l_max=3, compression="mu2"),
    "SOAP-random": SOAP(cutoff=4.3, n_max=4, l_max=3, compression="random", n_channels=5, random_state=3),
    "PairDistance-by-kind": PairDistance(
        4.3,
        n_sparse=7,
        theta={("Mo", "Mo"): 0.4, ("Ni", "Mo"): 0.3, ("Ni", "Ni"): 2.0},
        cutoff_transition_width=2.0,
        species=("Ni", "Mo"),
    ),
    "PairDistance-points": PairDistance(points={("Ni", "Mo"): [1.5, 3.0]}, cutoff_transition_width=5.0),
    "DescriptorUnion-of-unions": make_descriptor_union(
        make_descriptor_union(PairDistance(4.5, 3), Bispectrum(twojmax=2, **TWO)),
        SOAP(cutoff=4.3, n_max=3, l_max=2),
        species=TWO["species"],
        n_jobs=2,
    ),
    "scaled": Chain(Bispectrum(twojmax=4), [FeatureScaler()]),
    "scaled-by-species": Chain(Bispectrum(twojmax=4), [FeatureScaler("min", "range", by_species=True)]),
    "selected": Chain(Bispectrum(twojmax=4), [FeatureSelector(5)]),
    "quadratic": Chain(Bispectrum(twojmax=4), [QuadraticExpansion()]),
    "scaled-quadratic-scaled": Chain(Bispectrum(twojmax=2), [FeatureScaler(), QuadraticExpansion(), FeatureScaler()]),
}
MODELS = {
    "linear": make_pipeline(Bispectrum(twojmax=4), LinearPotential()),
    "linear-one-species": make_pipeline(Bispectrum(twojmax=6, species=["Si"]), LinearPotential(Ridge(1e-3))),
    "linear-no-intercept": make_pipeline(Bispectrum(twojmax=4), LinearPotential(intercept=None)),
    "linear-reference": make_pipeline(Bispectrum(twojmax=4), LinearPotential(intercept={"Mo": -1.0, "Ni": 0.5})),
    "linear-gram": make_pipeline(Bispectrum(twojmax=4), LinearPotential(solver="gram")),
    "linear-qr": make_pipeline(Bispectrum(twojmax=4), LinearPotential(solver="qr")),
    "linear-bayesian": make_pipeline(Bispectrum(twojmax=2), LinearPotential(BayesianRidge())),
    "linear-union": make_pipeline(
        make_descriptor_union(Bispectrum(twojmax=2), PairDistance(n_sparse=6)), LinearPotential(Ridge(1e-6))
    ),
    "linear-chem": make_pipeline(Bispectrum(twojmax=2, chemflag=True, bzeroflag=True, **TWO), LinearPotential()),
    "linear-baseline": make_pipeline(
        Bispectrum(twojmax=4), LinearPotential(baseline=potentials.ZBL(inner=1.6, outer=3.1))
    ),
    "gap": make_pipeline(
        Bispectrum(twojmax=2), FeatureScaler(), GaussianApproximationPotential(60, zeta=1, sparse_method="fps")
    ),
    "gap-two-zeta": make_pipeline(
        Bispectrum(twojmax=2), FeatureScaler(), GaussianApproximationPotential(60, zeta=(1, 2), sparse_method="fps")
    ),
    "network": make_pipeline(
        ACSF(5.0),
        FeatureSelector(method="variance"),
        FeatureScaler("min", "range", by_species=True),
        NeuralNetworkPotential((6, 5), max_iter=3, random_state=0),
    ),
    "network-committee": make_pipeline(
        Bispectrum(twojmax=2),
        FeatureScaler(),
        NeuralNetworkPotential((5,), "softplus", solver="adam", max_iter=3, n_models=3, random_state=0, n_jobs=2),
    ),
    "moments": make_pipeline(
        MomentTensor(4.3, level=8, n_polynomials=6), MomentTensorPotential(max_iter=5, random_state=0)
    ),
    "moments-untied": make_pipeline(
        MomentTensor(4.0, level=8, n_polynomials=4),
        MomentTensorPotential("ridge", tied=False, alpha=1e-4, intercept=None),
    ),
    "moments-committee": make_pipeline(
        MomentTensor(4.0, level=6, n_polynomials=4),
        MomentTensorPotential("bfgs", max_iter=10, initial="random", n_models=2, random_state=0, n_jobs=2),
    ),
    "scaled": make_pipeline(Bispectrum(twojmax=4), FeatureScaler(), LinearPotential(Ridge(1e-3))),
    "scaled-by-species": make_pipeline(
        Bispectrum(twojmax=4), FeatureScaler("min", "range", by_species=True), LinearPotential(Ridge(1e-3))
    ),
    "selected-quadratic": make_pipeline(
        Bispectrum(twojmax=4), FeatureSelector(0.4), QuadraticExpansion(), LinearPotential(Ridge(1e-3))
    ),
    "quadratic": make_pipeline(Bispectrum(twojmax=3), QuadraticExpansion(), LinearPotential(Ridge(1e-4))),
    "scaled-quadratic": make_pipeline(
        Bispectrum(twojmax=3), FeatureScaler(), QuadraticExpansion(), LinearPotential(Ridge(1e-2))
    ),
    "quadratic-scaled": make_pipeline(
        Bispectrum(twojmax=2), QuadraticExpansion(), FeatureScaler(), LinearPotential(Ridge(1e-2))
    ),
}


@cache
def fitted_descriptor(name):
    descriptor = DESCRIPTORS[name]
    structures = awkward_structures(descriptor.species or ("Mo", "Ni"))
    return clone(descriptor).fit(list(structures.values())), structures


@cache
def fitted_model(name):
    model = clone(MODELS[name])
    species = model[0].species or ("Mo", "Ni")
    train = toy_training_set(species)
    return model.fit(train, make_targets(train)), awkward_structures(species)


@pytest.mark.parametrize("law", DESCRIPTOR_LAWS)
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_descriptor(name, law):
    DESCRIPTOR_LAWS[law](*fitted_descriptor(name))


@pytest.mark.parametrize("law", POTENTIAL_LAWS)
@pytest.mark.parametrize("name", MODELS)
def test_potential(name, law):
    POTENTIAL_LAWS[law](*fitted_model(name))


def test_every_potential_has_a_model():
    tested = {type(model[-1]) for model in MODELS.values()}
    assert set(public_classes(PotentialMixin).values()) == tested


@pytest.mark.parametrize("method", ["snap", "qsnap"])
@pytest.mark.parametrize("element", ["Ni", "Li", "Mo", "Si"])
def test_published_model(shared, element, method):
    folder = shared / "models" / element / method
    model = read_snap(*(next(folder.glob(f"*.{kind}")) for kind in ("snapcoeff", "snapparam")))
    check_potential(model, awkward_structures([element]), skip=["fitting_again_gives_the_same"])


@pytest.mark.parametrize("folder", ["MoNbTaW/snap.2020.06", "Ni-Mo/snap.2018.01"])
def test_published_alloy(shared, folder):
    files = [next((shared / "models" / folder).glob(f"*.{kind}")) for kind in ("snapcoeff", "snapparam")]
    model = read_snap(*files)
    assert len(model[0].species_) == len(np.unique(model[0].species_)) > 1
    check_potential(model, skip=["fitting_again_gives_the_same"])
