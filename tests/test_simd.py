"""Kernels compiled for different instruction sets agree to 1e-10, and `MLFEAT_SIMD` chooses among them."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone

from mlfeat import ACSF, SOAP, Bispectrum, MomentTensor, _ext
from mlfeat.neighbors import NeighborPairs
from mlfeat.testing import assert_close, awkward_structures, crystal

ISAS = _ext.supported_isas()
SPECIES = ("Mo", "Ni")
ANGULAR = [(0.1, 2, 1), (0.3, 2.5, -1, 1.0), (0.1, 5, -1)]
INNER = {"switchinnerflag": True, "sinner": (2.3, 2.5), "dinner": 0.3}
DESCRIPTORS = {
    "twojmax=6": Bispectrum(),
    "twojmax=8": Bispectrum(3.9, 8),
    "twojmax=14": Bispectrum(3.5, 14),
    "two species": Bispectrum(twojmax=5, radii=(0.5, 0.45), weights=(1.0, -0.6), rmin0=0.3, bzeroflag=True),
    "chem, inner": Bispectrum(twojmax=3, chemflag=True, bnormflag=True, **INNER),
    "acsf": ACSF(cutoff=4.3),
    "acsf, all kinds": ACSF(4.3, [(0.3, 1.0), (0.1, 0.0, 3.0)], ANGULAR, ANGULAR, inner_cutoff=0.2),
    "moments": MomentTensor(4.3, 12),
    "moments, many functions": MomentTensor(4.3, 18, n_polynomials=5, min_dist=1.0),
    "soap": SOAP(cutoff=4.3),
    "soap, odd sizes": SOAP(cutoff=4.3, n_max=5, l_max=3, normalize=False),
    "soap, mu1nu1": SOAP(cutoff=4.3, n_max=3, l_max=4, compression="mu1nu1"),
    "soap, random": SOAP(cutoff=4.3, n_max=9, l_max=2, compression="random", n_channels=11),
}


def operations(structures, descriptor):
    """Everything that the kernel computes, by a name."""
    descriptor = clone(descriptor).set_params(species=SPECIES).fit(list(structures.values()))
    rng = np.random.default_rng(0)
    results = {}
    for name, atoms in structures.items():
        pairs = NeighborPairs.from_atoms(atoms, descriptor.cutoff_ + 0.4)
        values, pullback = descriptor.values_and_pullback(pairs)
        cotangents = rng.normal(size=values.shape) / np.maximum(np.abs(values).max(axis=0), 1.0)
        results[f"{name}: values"] = values
        results[f"{name}: pair gradients"] = pullback(cotangents)
        results[f"{name}: jacobian"] = descriptor.jacobian(pairs)
        results[f"{name}: jvp"] = descriptor.jvp(pairs, rng.normal(size=(pairs.n_pairs, 3)))
    return results


@pytest.mark.parametrize("isa", ISAS[1:])
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_instruction_sets_agree(name, isa, monkeypatch):
    structures = {**awkward_structures(SPECIES), "crystal": crystal(SPECIES, (3, 3, 3))}
    monkeypatch.setattr(_ext, "ISA", "baseline")
    expected = operations(structures, DESCRIPTORS[name])
    monkeypatch.setattr(_ext, "ISA", isa)
    for what, found in operations(structures, DESCRIPTORS[name]).items():
        assert_close(found, expected[what], f"{isa}, {what}", rtol=1e-10)


def test_instruction_sets_are_different_code():
    modules = [_ext.kernel("bispectrum", isa) for isa in ISAS]
    assert len({module.__file__ for module in modules}) == len(ISAS)
    assert [module.lanes for module in modules] == sorted({module.lanes for module in modules})


def test_the_default_is_the_fastest_that_the_processor_has(monkeypatch):
    monkeypatch.delenv("MLFEAT_SIMD", raising=False)
    assert _ext.choose_isa() == ISAS[-1]
    assert _ext.kernel("bispectrum").__name__ == f"mlfeat._ext.{_ext.ISA}.bispectrum"


def chosen(value):
    """What a new process with MLFEAT_SIMD set to `value` does."""
    program = "from mlfeat import _ext; print(_ext.ISA, _ext.kernel('bispectrum').__name__)"
    environment = {**os.environ, "MLFEAT_SIMD": value}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("isa", ISAS)
def test_the_environment_forces_a_set(isa):
    assert chosen(isa).stdout.split() == [isa, f"mlfeat._ext.{isa}.bispectrum"]


def test_an_unknown_set_is_refused_with_the_choices():
    process = chosen("avx1024")
    assert process.returncode != 0
    last = process.stderr.strip().splitlines()[-1]
    assert "MLFEAT_SIMD='avx1024'" in last
    assert "baseline" in last


def test_a_set_that_the_processor_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(_ext.cpu, "supports", lambda isa: isa == "baseline", raising=False)
    monkeypatch.setenv("MLFEAT_SIMD", "avx512")
    with pytest.raises(ImportError, match=r"MLFEAT_SIMD='avx512': this processor runs baseline"):
        _ext.choose_isa()
