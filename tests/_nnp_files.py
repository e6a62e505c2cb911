"""A small potential of two elements in n2p2's files, and what it gives, function by function."""

import numpy as np
from ase.build import bulk

from mlfeat.descriptors import ACSF
from mlfeat.features import FeatureSet

BOHR, HARTREE = 0.529177210903, 27.211386245988

# Not in n2p2's order, and of different numbers for the elements.
INPUT = """\
number_of_elements 2 # a comment
elements Ni Be
atom_energy Ni -0.5
atom_energy Be 0.25
cutoff_type 1
scale_symmetry_functions
center_symmetry_functions ! another
scale_min_short -1.0
scale_max_short 1.0
global_hidden_layers_short 2
global_nodes_short 3 2
global_activation_short t p l
symfunction_short Ni 9 Be Ni 0.02 -1.0 2.0 8.0
symfunction_short Ni 2 Be 0.05 0.0 8.0
symfunction_short Ni 2 Ni 0.05 0.0 8.0
symfunction_short Ni 3 Ni Be 0.02 1.0 4.0 7.0 0.5
symfunction_short Ni 2 Ni 0.01 2.0 8.0
symfunction_short Be 2 Ni 0.05 0.0 8.0
symfunction_short Be 3 Ni Ni 0.02 1.0 4.0 8.0
symfunction_short Be 2 Ni 0.05 0.0 6.0
"""

# In n2p2's order: elements by atomic number; type, cutoff, eta, r_s, zeta, lambda, neighbors. Lengths in bohr.
FUNCTIONS = {
    "Be": [
        ("radial", ("Be", "Ni"), (0.05, 0.0), 6.0),
        ("radial", ("Be", "Ni"), (0.05, 0.0), 8.0),
        ("angular", ("Be", "Ni", "Ni"), (0.02, 4.0, 1.0, 0.0), 8.0),
    ],
    "Ni": [
        ("radial", ("Ni", "Ni"), (0.01, 2.0), 8.0),
        ("radial", ("Ni", "Be"), (0.05, 0.0), 8.0),
        ("radial", ("Ni", "Ni"), (0.05, 0.0), 8.0),
        ("angular", ("Ni", "Be", "Ni"), (0.02, 4.0, 1.0, 0.5), 7.0),
        ("wide", ("Ni", "Be", "Ni"), (0.02, 2.0, -1.0, 0.0), 8.0),
    ],
}
NUMBERS = {"Be": 4, "Ni": 28}
NODES = (3, 2)


def alloy(seed=0):
    atoms = bulk("Ni", cubic=True, a=3.4) * (2, 1, 1)
    atoms.symbols[::3] = "Be"
    atoms.rattle(0.1, seed=seed)
    return atoms


def statistics(seed=0):
    """Least, largest, mean value and standard deviation of each function."""
    rng = np.random.default_rng(seed)
    found = {}
    for symbol, functions in FUNCTIONS.items():
        low, mean, high = np.sort(rng.uniform(0, 3, (3, len(functions))), axis=0)
        found[symbol] = np.column_stack([low, high, mean, 0.3 * (high - low)])
    return found


def layers(seed=0):
    """Weights (n_from, n_to) and biases (n_to,) of each layer of each element's network."""
    rng = np.random.default_rng(seed + 1)
    sizes = {symbol: (len(functions), *NODES, 1) for symbol, functions in FUNCTIONS.items()}
    return {
        symbol: [(rng.normal(size=(a, b)), rng.normal(size=b)) for a, b in zip(own, own[1:], strict=False)]
        for symbol, own in sizes.items()
    }


def write_files(folder, text=INPUT, short=False, **changed):
    """Write the potential; returns the folder. Texts of other files may be given by their names."""
    folder.mkdir(exist_ok=True)
    texts = {"input.nn": text, "scaling.data": scaling_text()}
    for symbol, own in layers().items():
        values = [value for w, b in own for value in (*w.ravel(), *b)]
        texts[f"weights.{NUMBERS[symbol]:03d}.data"] = weights_text(values, own, short)
    for name, content in (texts | changed).items():
        if content is not None:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def scaling_text():
    rows = [
        f"{e:4d} {k:4d} " + " ".join(f"{value:24.16E}" for value in row)
        for e, own in enumerate(statistics().values(), 1)
        for k, row in enumerate(own, 1)
    ]
    return "# a comment\n" + "\n".join(rows) + "\n"


def weights_text(values, own, short):
    if short:
        return "".join(f"{value!r}\n" for value in map(float, values))
    places, number = [], 0
    for level, (w, _) in enumerate(own):
        ends = range(1, w.shape[1] + 1)
        for j in range(1, len(w) + 1):
            places += [f"a {(number := number + 1):9d} {level:5d} {j:5d} {level + 1:5d} {k:5d}" for k in ends]
        places += [f"b {(number := number + 1):9d} {level + 1:5d} {k:5d}" for k in ends]
    return "".join(f"{v:24.16E} {place}\n" for v, place in zip(values, places, strict=True))


def functions_of(atoms, length=BOHR):
    """Values of each element's functions, (n_atoms of it, n_functions), one descriptor for each."""
    found = {}
    for symbol, functions in FUNCTIONS.items():
        columns = []
        for kind, key, (eta, *rest), cutoff in functions:
            rest = [rest[0] * length] if kind == "radial" else [*rest[:2], rest[2] * length]
            lists = {"radial": {}, "angular": {}, "wide": {}} | {kind: {key: [(eta / length**2, *rest)]}}
            features = ACSF(cutoff * length, **lists, species=("Be", "Ni")).fit_transform([atoms])
            columns.append(values_of(features)[atoms.symbols == symbol, 0])
        found[symbol] = np.column_stack(columns)
    return found


def values_of(features):
    assert isinstance(features, FeatureSet)
    return features[0].values


def scaled(values, table, center="mean", scale="range", ends=(-1.0, 1.0)):
    low, high, mean, sigma = table.T
    shift = {"min": low, "mean": mean, None: 0.0}[center]
    if scale is None:
        return values - shift
    return ends[0] + (ends[1] - ends[0]) * (values - shift) / {"range": high - low, "std": sigma}[scale]


def network_outputs(values, own, normalize=False):
    for (w, b), f in zip(own, (np.tanh, lambda z: np.log1p(np.exp(z)), lambda z: z), strict=True):
        values = f((values @ w + b) / (len(w) if normalize else 1))
    return values[:, 0]


def energy(atoms, normalize=False, length=BOHR, unit=HARTREE, mean_energy=0.0, conv_energy=1.0, **scaling):
    """The potential's energy, eV."""
    total = 0.0
    for symbol, values in functions_of(atoms, length).items():
        inputs = scaled(values, statistics()[symbol], **scaling)
        outputs = network_outputs(inputs, layers()[symbol], normalize)
        shift = {"Ni": -0.5, "Be": 0.25}[symbol] + mean_energy
        total += unit * np.sum(outputs / conv_energy + shift)
    return total
