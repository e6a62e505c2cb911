"""What Zuo et al., J. Phys. Chem. A 124, 731 (2020), and their potentials reach."""

METHODS = ("snap", "qsnap", "gap", "nnp", "mtp")
ERRORS = {  # on the test structures, meV/atom and eV/Å: RMSE of the published potentials, of GAP the printed MAE
    "Ni": ((1.17, 0.085), (1.04, 0.075), (0.42, 0.02), (2.25, 0.067), (0.75, 0.027)),
    "Li": ((1.31, 0.038), (0.85, 0.044), (0.49, 0.01), (0.98, 0.023), (0.66, 0.013)),
    "Mo": ((9.25, 0.376), (4.04, 0.333), (2.24, 0.09), (5.43, 0.204), (3.98, 0.151)),
    "Si": ((8.06, 0.205), (5.51, 0.177), (2.91, 0.07), (6.93, 0.170), (3.03, 0.088)),
}
ERRORS = {element: dict(zip(METHODS, row, strict=True)) for element, row in ERRORS.items()}
SCALING = {  # Table S11: s per step of bulk Mo, one core of an Intel i7-6850K
    "atoms": (432, 2000, 5488, 11664),
    "snap": (0.063, 0.294, 0.809, 1.701),
    "qsnap": (0.063, 0.299, 0.805, 1.730),
    "gap": (1.455, 6.711, 18.519, 38.461),
    "nnp": (0.052, 0.236, 0.674, 1.439),
    "mtp": (0.069, 0.308, 0.843, 1.799),
}
