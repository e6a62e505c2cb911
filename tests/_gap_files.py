"""GAP files for Ni and Mo put together by hand, in the layout of gap_fit, and their energies by formula."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from _bispectrum_twin import brute_force_pairs
from _soap_twin import Parameters, cutoff_function, soap_of
from ase.build import bulk
from ase.data import chemical_symbols

E0 = {28: -1.5, 42: -4.25}
SOAP = Parameters(cutoff=4.0, n_max=2, l_max=1, cutoff_transition_width=0.7)
SOAP_TEXT = "soap n_max=2 l_max=1 atom_sigma=0.5 cutoff=4.0 cutoff_transition_width=0.7"


@dataclass
class Soap:
    """A ``soap`` of one kind of centers."""

    center: int
    species: tuple = (28, 42)
    parameters: Parameters = SOAP
    keywords: str = SOAP_TEXT
    zeta: int = 2
    delta: float = 0.5
    seed: int = 1

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.points = rng.uniform(-0.1, 0.4, (3, self.dimensions))
        self.alpha = rng.normal(size=3)
        self.cutoffs = np.ones(3)
        numbers = " ".join(map(str, self.species))
        self.descriptor = f"{self.keywords} n_species={len(self.species)} Z={self.center} species_Z={{{numbers} }}"
        self.attributes = f'n_permutations="1" covariance_type="2" zeta="{self.zeta}"'
        self.theta = ""

    @property
    def dimensions(self):
        n_k = len(self.species) * self.parameters.n_max
        return n_k * (n_k + 1) // 2 * (self.parameters.l_max + 1) + 1

    def energies(self, atoms):
        features = soap_of(atoms, [chemical_symbols[z] for z in self.species], self.parameters)
        kernels = self.delta**2 * (features @ self.points.T) ** self.zeta
        return np.where(np.isin(atoms.numbers, self.center), kernels @ self.alpha, 0.0)


@dataclass
class Pair:
    """A ``distance_2b`` of one kind of pairs."""

    pair: tuple = (28, 42)
    theta_number: float = 0.8
    delta: float = 2.0
    keywords: str = "distance_2b cutoff=4.2 cutoff_transition_width=1.0"
    descriptor: str = ""
    points: np.ndarray = field(default_factory=lambda: np.array([[2.2], [4.0], [3.1], [2.6]]))

    def __post_init__(self):
        self.alpha = np.random.default_rng(0).normal(size=len(self.points))
        self.parameters = Parameters(cutoff=4.2, cutoff_transition_width=1.0)
        self.cutoffs = cutoff_function(self.points[:, 0], self.parameters)
        self.descriptor = self.descriptor or f"{self.keywords} Z1={self.pair[0]} Z2={self.pair[1]}"
        self.attributes = 'n_permutations="1" covariance_type="1"'
        self.theta = f"\n      <theta>  {self.theta_number:.17E} </theta>"

    def energies(self, atoms):
        first, second, vectors = brute_force_pairs(atoms, self.parameters.cutoff)
        r = np.linalg.norm(vectors, axis=1)
        mine = [
            sorted(pair) == sorted(self.pair) for pair in zip(atoms.numbers[first], atoms.numbers[second], strict=True)
        ]
        kernels = np.exp(-0.5 * ((r[:, None] - self.points[:, 0]) / self.theta_number) ** 2) * self.cutoffs
        values = self.delta**2 * cutoff_function(r, self.parameters) * (kernels @ self.alpha)
        return np.bincount(first[mine], values[mine], len(atoms))


def terms():
    """A pair term and a soap for both species."""
    return [Pair(), Soap(28, seed=1), Soap(42, seed=2)]


def energies_of(some, atoms):
    """E_i by formula."""
    return np.array([E0[z] for z in atoms.numbers]) + sum(term.energies(atoms) for term in some)


def alloy(species=("Ni", "Mo"), seed=3):
    atoms = bulk("Cu", cubic=True, a=3.7)
    atoms.symbols[:] = [species[k % len(species)] for k in range(4)]
    atoms.rattle(0.2, seed=seed)
    return atoms


def write_files(folder, some=None, *, inline=False, version=1769700636, name="gap.xml"):
    """The files of some terms; the XML file's path."""
    some = terms() if some is None else some
    blocks = [_coordinates(folder, name, k, term, inline) for k, term in enumerate(some, 1)]
    e0 = "\n".join(f'    <e0 Z="{z}" value="{value:.16f}"/>' for z, value in E0.items())
    text = f"""<GAP_2026>
<Potential label="GAP_2026" init_args="IP GAP label=GAP_2026"/>
<GAP_params label="GAP_2026" gap_version="{version}">
  <GAP_data do_core="F">
{e0}
  </GAP_data>
  <gpSparse label="GAP_2026" n_coordinate="{len(some)}" fitted="T">
{"".join(blocks)}  </gpSparse>
  <command_line><![CDATA[ atoms_filename=train.xyz gap={{soap}} ]]></command_line>
</GAP_params>
</GAP_2026>
"""
    path = folder / name
    path.write_text(text)
    return path


def _coordinates(folder, name, k, term, inline):
    n_sparse, dimensions = term.points.shape
    place = ""
    if not inline:
        file = f"{name}.sparseX.GAP_2026{k}"
        content = "".join(f"{value:.20e}\n" for value in term.points.ravel()).encode()
        (folder / file).write_bytes(content)
        place = f' sparseX_filename="{file}" sparseX_md5sum="{hashlib.md5(content).hexdigest()}"'
    rows = ""
    for i, (point, alpha, cutoff) in enumerate(zip(term.points, term.alpha, term.cutoffs, strict=True), 1):
        row = f'      <sparseX i="{i}" alpha="{float(alpha)!r}" sparseCutoff="{float(cutoff)!r}"'
        numbers = "  ".join(f"{float(value):.17E}" for value in point)
        rows += row + (f">  {numbers}  </sparseX>\n" if inline else "/>\n")
    return f"""    <gpCoordinates label="GAP_2026{k}" dimensions="{dimensions}" signal_variance="{term.delta!r}" \
signal_mean=".00000000000000000E+000" sparsified="T" {term.attributes} n_sparseX="{n_sparse}"{place}>{term.theta}
      <descriptor>{term.descriptor}</descriptor>
      <permutation i="1">1  </permutation>
{rows}    </gpCoordinates>
"""
