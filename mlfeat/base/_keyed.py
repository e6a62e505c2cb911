"""Estimators that a cache can tell apart."""

import joblib


class Keyed:
    """What the cache and the features that an estimator makes need of it."""

    _state = ()  # names of the fitted attributes
    _not_in_key = ("n_jobs",)  # parameters that do not change results

    def cache_key(self):
        """Hash the class, the parameters and the fitted state.

        Returns
        -------
        str
            Equal for estimators that give equal results.
        """
        state = [getattr(self, name, None) for name in self._state]
        return joblib.hash((type(self).__module__, type(self).__qualname__, self._parameters(), state))

    def _parameters(self):
        """The parameters that results depend on."""
        return {name: value for name, value in self.get_params().items() if name not in self._not_in_key}

    def _frozen(self):
        """A shallow copy, so that features keep working when this estimator is fitted again."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin
