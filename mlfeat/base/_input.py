"""Features that come to a fitted estimator."""


def check_input(estimator, X):
    """Raise ValueError unless features are such as an estimator was fitted to.

    Parameters
    ----------
    estimator : FeatureStep or PotentialMixin
        A fitted one. What it does not keep of `n_features_in_` and `species_` is not compared.
    X : FeatureSet
        What it is given.
    """
    remedy = "use the descriptor and the steps that it was fitted with, or fit it again"
    name, n_features = type(estimator).__name__, X.shape[1]
    expected = getattr(estimator, "n_features_in_", n_features)
    if n_features != expected:
        raise ValueError(f"X has {n_features} features, but {name} is expecting {expected} features as input: {remedy}")
    species = getattr(estimator, "species_", None)
    for found in {tuple(item.descriptor.species_) for item in X} if species is not None else ():
        if found != tuple(species):
            raise ValueError(
                f"X has features of the species {found!r}, but {name} is expecting {tuple(species)!r}: {remedy}"
            )
