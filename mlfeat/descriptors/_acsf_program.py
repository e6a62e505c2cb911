"""What the kernel of symmetry functions does, as tables: which exponentials and powers, and from which others.

The functions of a center with one cutoff are a shell; those of a shell that run over the same neighbors a part. A part
has rows of exponentials and of powers, each made from earlier rows, and its functions are products of one of each.
"""

from typing import NamedTuple

import numpy as np

from mlfeat.descriptors._acsf_functions import RADIAL

NEW, REAL_POWER = -1, -2
PAD = 8  # functions of a part are filled up to whole vectors
LARGEST_MULTIPLE = 4096


class Program(NamedTuple):
    """Tables of the kernel.

    Attributes
    ----------
    shell_start : intp array (n_species + 1,)
        First shell of each center.
    shell_cutoff : array (n_shells,)
        Å.
    part_start : intp array (n_shells + 1,)
        First part of each shell.
    part : intp array (n_parts, 9)
        Kind, species of the neighbors, first and last exponential, power and function, whether r_jk is needed.
    exp_rows : intp array (n_exps, 4)
        The two rows whose product it is, or NEW; its first and last function.
    exp_numbers : array (n_exps, 2)
        η and η r_s.
    exp_shift : array (n_exps,)
        r_s.
    pow_rows : intp array (n_powers, 2)
        The two rows whose product it is, or NEW, or REAL_POWER and the base.
    pow_number : array (n_powers,)
        λ of a new row, ζ of a real power.
    function : intp array (n_functions, 3)
        Exponential and power, counted within the part, and feature; -1 where there is none.
    function_numbers : array (2, n_functions)
        η and η r_s.
    """

    shell_start: np.ndarray
    shell_cutoff: np.ndarray
    part_start: np.ndarray
    part: np.ndarray
    exp_rows: np.ndarray
    exp_numbers: np.ndarray
    exp_shift: np.ndarray
    pow_rows: np.ndarray
    pow_number: np.ndarray
    function: np.ndarray
    function_numbers: np.ndarray


class _Tables:
    """The tables while they grow."""

    def __init__(self):
        self.shell_cutoff, self.part_start, self.part, self.function, self.numbers = [], [], [], [], []
        self.exp_rows, self.exp_numbers, self.pow_rows, self.pow_number = [], [], [], []

    def add_shell(self, cutoff, functions, species):
        """All functions of a center with one cutoff: (feature, SymmetryFunction)."""
        self.shell_cutoff.append(cutoff)
        self.part_start.append(len(self.part))
        for key in dict.fromkeys((f.kind, f.neighbors) for _, f in functions):
            own = [(column, f) for column, f in functions if (f.kind, f.neighbors) == key]
            self._add_part(*key, own, [species.index(symbol) for symbol in key[1]])

    def _add_part(self, kind, neighbors, functions, places):
        exps, exp_place = _exponentials([f for _, f in functions])
        powers, power_place = _powers([f for _, f in functions])
        entries = sorted(
            (exp_place[f.eta, f.r_s], power_place.get((f.zeta, f.lambda_), 0), column) for column, f in functions
        )
        first, first_exp, first_power = len(self.function), len(self.exp_rows), len(self.pow_rows)
        for k, row in enumerate(exps):
            own = [first + n for n, entry in enumerate(entries) if entry[0] == k] or [0, -1]
            self.exp_rows.append((*row.factors, own[0], own[-1] + 1))
            self.exp_numbers.append((row.eta, row.eta * row.r_s, row.r_s))
        for row in powers:
            self.pow_rows.append(row.factors)
            self.pow_number.append(row.number)
        self.function += entries
        self.numbers += [(exps[e].eta, exps[e].eta * exps[e].r_s) for e, _, _ in entries]
        n_pad = -len(entries) % PAD
        self.function += [(0, 0, -1)] * n_pad
        self.numbers += [(0.0, 0.0)] * n_pad
        rows = (first_exp, len(self.exp_rows), first_power, len(self.pow_rows), first, first + len(entries))
        self.part.append((kind, places[0], places[-1], *rows))

    def program(self, shell_start):
        exp_numbers = np.array(self.exp_numbers, dtype=float)
        return Program(
            np.array(shell_start, dtype=np.intp),
            np.array(self.shell_cutoff, dtype=float),
            np.array([*self.part_start, len(self.part)], dtype=np.intp),
            np.array(self.part, dtype=np.intp),
            np.array(self.exp_rows, dtype=np.intp),
            np.ascontiguousarray(exp_numbers[:, :2]),
            np.ascontiguousarray(exp_numbers[:, 2]),
            np.array(self.pow_rows, dtype=np.intp).reshape(-1, 2),
            np.array(self.pow_number, dtype=float),
            np.array(self.function, dtype=np.intp),
            np.ascontiguousarray(np.array(self.numbers, dtype=float).T),
        )


def make_program(functions, species):
    """Arrange the functions of each center (as `symmetry_functions` gives them) for the kernel."""
    tables, shell_start = _Tables(), [0]
    for own in functions:
        for cutoff in sorted({f.cutoff for f in own}):
            tables.add_shell(cutoff, [(k, f) for k, f in enumerate(own) if f.cutoff == cutoff], species)
        shell_start.append(len(tables.shell_cutoff))
    return tables.program(shell_start)


# --- rows that are made from others ----------------------------------------------------------------------------------


class _Exponential(NamedTuple):
    factors: tuple
    eta: float
    r_s: float


class _Power(NamedTuple):
    factors: tuple
    number: float  # λ of a new row, ζ of a real power


def _exponentials(functions):
    """Rows, and the place of each (η, r_s) among them.

    Those of one r_s whose η are multiples of the smallest are powers of one exponential.
    """
    rows, place = [], {}
    for r_s in dict.fromkeys(f.r_s for f in functions):
        left = sorted({f.eta for f in functions if f.r_s == r_s})
        while left:
            unit = left[0]
            multiples = {eta: _multiple(eta, unit) for eta in left}
            steps = {}
            for m, factors in addition_chain(set(multiples.values()) - {0}):
                steps[m] = len(rows)
                rows.append(_Exponential(tuple(steps[k] for k in factors) or (NEW, NEW), m * unit, r_s))
            place |= {(eta, r_s): steps[m] for eta, m in multiples.items() if m}
            left = [eta for eta in left if not multiples[eta]]
    return rows, place


def _multiple(eta, unit):
    """The whole number m with η = m unit, to rounding errors, or 0."""
    if eta == unit:
        return 1
    m = round(eta / unit) if 0 < unit and eta < LARGEST_MULTIPLE * unit else 0
    return m if abs(eta - m * unit) <= 1e-14 * eta else 0


def _powers(functions):
    """Rows, and the place of each (ζ, λ) of angular functions among them: whole powers are products of others."""
    rows, place = [], {}
    for lambda_ in dict.fromkeys(f.lambda_ for f in functions if f.kind != RADIAL):
        zetas = sorted({f.zeta for f in functions if f.lambda_ == lambda_})
        steps = {}
        for m, factors in addition_chain({int(z) for z in zetas if z.is_integer()}):
            steps[m] = place[float(m), lambda_] = len(rows)
            rows.append(_Power(tuple(steps[k] for k in factors) or (NEW, NEW), lambda_))
        for zeta in zetas:
            if not zeta.is_integer():
                place[zeta, lambda_] = len(rows)
                rows.append(_Power((REAL_POWER, steps[1]), zeta))
    return rows, place


def addition_chain(targets):
    """Steps from 1 to all targets: (sum, the two earlier numbers), those of 1 being none."""
    steps = {1: ()}

    def reach(m):
        if m in steps:
            return
        larger = next((k for k in sorted(steps, reverse=True) if m - k in steps), None)
        if larger is None:
            larger = m // 2 if m % 2 == 0 else m - 1
            reach(larger)
        steps[m] = (larger, m - larger)

    for target in sorted(targets):
        reach(target)
    return list(steps.items())
