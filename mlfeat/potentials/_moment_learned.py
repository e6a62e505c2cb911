"""The MomentTensor with the radial functions that a potential learned."""

import numpy as np

from mlfeat.descriptors import DescriptorUnion


def learned_descriptor(descriptor, radial_coef, scaling, basis):
    """The MomentTensor with learned radial functions, or the union of those of a committee.

    Parameters
    ----------
    descriptor : MomentTensor or DescriptorUnion
        Fitted; the learned one itself is given back.
    radial_coef : array (n_models, S, S, n_radial, K)
    scaling : array (n_models,)
    basis : sequence of three arrays or None
        Tables; None: those of the descriptor.

    Returns
    -------
    MomentTensor or DescriptorUnion
    """
    if is_learned(descriptor, radial_coef, scaling, basis):
        return descriptor
    if not hasattr(descriptor, "with_radial"):
        raise ValueError(
            f"a {type(descriptor).__name__} stands before the MomentTensorPotential: put a MomentTensor there"
        )
    members = [
        descriptor.with_radial(own, scaling=factor, basis=basis)
        for own, factor in zip(radial_coef, scaling, strict=True)
    ]
    if len(members) == 1:
        return members[0]
    return DescriptorUnion._of_fitted([(f"member{k}", member) for k, member in enumerate(members)])


def is_learned(descriptor, radial_coef, scaling, basis):
    """Whether a descriptor has these radial functions."""
    parts = [part for _, part in getattr(descriptor, "descriptors_", [("", descriptor)])]
    return len(parts) == len(radial_coef) and all(
        hasattr(part, "with_radial")
        and np.array_equal(part.radial_coefficients_, own)
        and part.scaling == factor
        and (basis is None or _same(part.basis_, basis))
        for part, own, factor in zip(parts, radial_coef, scaling, strict=True)
    )


def _same(tables, others):
    return all(np.array_equal(a, b) for a, b in zip(tables, others, strict=True))
