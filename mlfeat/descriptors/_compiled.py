"""Descriptors with a compiled kernel: forward pass, adjoint and explicit Jacobian."""

from collections import deque
from numbers import Real

import numpy as np

from mlfeat._parallel import run_chunks
from mlfeat.base import Descriptor


class CompiledDescriptor(Descriptor):
    """Base of descriptors whose operations are loops of a compiled kernel over centers.

    A subclass implements `_compile`, which returns an object with ``values``, ``gradient`` and ``jacobian`` (see
    ``mlfeat._ext.bispectrum``) and ``density_shape(n_atoms)``, the shape of what the forward pass leaves for the
    reverse one; its `_setup` sets ``self._compiled = None``.
    """

    def _compile(self):
        """Make the kernel from parameters that `_setup` found in order."""
        raise NotImplementedError

    def _kernel(self):
        if getattr(self, "_compiled", None) is None:
            self._check_unchanged()
            self._compiled = self._compile()
        return self._compiled

    def __getstate__(self):
        return {**super().__getstate__(), "_compiled": None}

    def _arguments(self, pairs):
        if pairs.cutoff < self.cutoff_:
            raise ValueError(
                f"the neighbor list reaches {pairs.cutoff:g} Å, the cutoff is {self.cutoff_:g} Å; "
                "build it with NeighborPairs.from_atoms(atoms, descriptor.cutoff_)"
            )
        return pairs.vectors, pairs.offsets, pairs.second, self.species_index(pairs.numbers)

    def _forward(self, compiled, arguments, n_atoms):
        """Values and density of all centers."""
        density = _spare_density(compiled.density_shape(n_atoms))
        values = np.empty((n_atoms, self.n_features_out_))
        run_chunks(lambda a, b: compiled.values(*arguments, a, b, density, values), n_atoms, self.n_jobs)
        return values, density

    def values(self, pairs):
        """Features of each center (n_atoms, n_features)."""
        return self._forward(self._kernel(), self._arguments(pairs), pairs.n_atoms)[0]

    def values_and_pullback(self, pairs):
        """Features, and the function from cotangents (n_atoms, n_features) to pair gradients (n_pairs, 3)."""
        compiled, arguments = self._kernel(), self._arguments(pairs)
        values, density = self._forward(compiled, arguments, pairs.n_atoms)
        return values, _Pullback(self, compiled, arguments, density)

    def vjp(self, pairs, cotangents):
        """Pair gradients (n_pairs, 3) for cotangents (n_atoms, n_features) of the features."""
        return self.values_and_pullback(pairs)[1](cotangents)

    def jacobian(self, pairs, start=0, stop=None):
        """∂B_i/∂r_ij (n_block_pairs, 3, n_features) of the pairs of the centers start to stop."""
        stop = pairs.n_atoms if stop is None else stop
        compiled, arguments = self._kernel(), self._arguments(pairs)
        base = pairs.offsets[start]
        out = np.empty((pairs.offsets[stop] - base, 3, self.n_features_out_))
        run_chunks(
            lambda a, b: compiled.jacobian(*arguments, start + a, start + b, out[pairs.offsets[start + a] - base :]),
            stop - start,
            self.n_jobs,
        )
        return out


_SPARE = deque(maxlen=4)  # densities that nobody uses: fresh memory at every step would cost its page faults


def _spare_density(shape):
    for _ in range(len(_SPARE)):  # those of a union's parts differ in shape
        try:
            density = _SPARE.popleft()
        except IndexError:  # another thread took it
            break
        if density.shape == shape:
            return density
        _SPARE.append(density)
    return np.empty(shape)


class _Pullback:
    """From cotangents to pair gradients. It owns the density, which is free for others when it is gone."""

    def __init__(self, descriptor, compiled, arguments, density):
        self.descriptor, self.compiled, self.arguments, self.density = descriptor, compiled, arguments, density

    def __call__(self, cotangents):
        vectors, offsets, *_ = self.arguments
        cotangents = np.ascontiguousarray(cotangents, dtype=float)
        gradients = np.empty(vectors.shape)
        run_chunks(
            lambda a, b: self.compiled.gradient(*self.arguments, a, b, self.density, cotangents, gradients),
            len(offsets) - 1,
            self.descriptor.n_jobs,
        )
        return gradients

    def __del__(self):
        if self.density.size:
            _SPARE.append(self.density)


def check_number(name, value, valid, expected):
    """Raise ValueError unless a parameter is a finite number that is `valid`; `expected` says in words what that is."""
    if not isinstance(value, Real) or isinstance(value, bool) or not np.isfinite(value) or not valid(value):
        raise ValueError(f"{name}={value!r}: must be {expected}")
