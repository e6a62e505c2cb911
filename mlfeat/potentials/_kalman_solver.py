"""Training of networks by an extended Kalman filter: energies, forces and stresses as measurements of the weights."""

import numpy as np

from mlfeat.potentials._rows import KINDS
from mlfeat.potentials._structure_pass import StructurePass, segments


class KalmanSolver:
    """Epochs of an extended Kalman filter.

    In each epoch the structures come in random order. Of each, a share of its measurements is drawn; blocks of them,
    also of several structures, make one update. Errors are divided by their noise, so that the filter's is one.

    Parameters
    ----------
    networks : sequence of Network
        One for each species.
    kalman_filter : KalmanFilter
    scale : float
        Energy (eV) that an output of one stands for.
    noise : float
        Standard deviation of the residual of a measurement of weight one.
    batch_size : int
        Measurements of an update.
    fractions, thresholds : sequences of three floats
        For energies, forces and stresses: share that is drawn in an epoch; measurements whose error is below the
        threshold, in units of the root mean square error of their kind in the last epoch, are drawn anew, `trials`
        times at most. Energies below it are left out.
    trials : int
    alpha : float
        Penalty α Σ w² of the parameters, against squared errors divided by their noise: in each update some parameters,
        drawn at random, are measured to be zero, so that over an epoch each has the weight α on average.
    rng : numpy.random.RandomState
    """

    def __init__(self, networks, kalman_filter, *, scale, noise, batch_size, fractions, thresholds, trials, alpha, rng):
        self.networks = list(networks)
        self.filter = kalman_filter
        self.scale, self.noise, self.batch_size = scale, noise, batch_size
        self.fractions = dict(zip(KINDS, fractions, strict=True))
        self.thresholds = dict(zip(KINDS, thresholds, strict=True))
        self.trials, self.alpha = trials, alpha
        self.rng = rng
        self._rms = dict.fromkeys(KINDS, 0.0)

    def epoch(self, data, stop):
        """Pass once over the structures, as long as the event `stop` is not set; changes `networks`."""
        self._sums, self._counts = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0)
        self._expected = data.count() @ [self.fractions[kind] for kind in KINDS]
        rows, errors = [], []
        for k in self.rng.permutation(len(data)):
            if stop.is_set():
                return
            chosen = self._draw(data, k)
            while len(chosen):
                room = self.batch_size - sum(map(len, errors))
                more_rows, more_errors = self._measure(data, k, chosen[:room])
                rows.append(more_rows)
                errors.append(more_errors)
                chosen = chosen[room:]
                if sum(map(len, errors)) >= self.batch_size:
                    self._update(rows, errors)
                    rows, errors = [], []
        if errors:
            self._update(rows, errors)
        self.filter.end_epoch()
        for kind in KINDS:
            if self._counts[kind]:
                self._rms[kind] = np.sqrt(self._sums[kind] / self._counts[kind])

    def _update(self, rows, errors):
        rows, errors = np.concatenate(rows), np.concatenate(errors)
        if self.alpha > 0:
            prior = self._prior(len(errors) / self._expected)
            rows, errors = np.concatenate([rows, prior[0]]), np.concatenate([errors, prior[1]])
        change = self.filter.update(rows, errors)
        start = 0
        for s, network in enumerate(self.networks):
            stop = start + network.n_parameters
            self.networks[s] = network.with_parameters(network.parameters + change[start:stop])
            start = stop

    def _prior(self, share):
        """Measurements of some parameters as zero, for an update with this share of an epoch's measurements."""
        parameters = np.concatenate([network.parameters for network in self.networks])
        chosen = self.rng.permutation(len(parameters))[: max(1, self.batch_size // 4)]
        factor = np.sqrt(self.alpha * share * len(parameters) / len(chosen))
        rows = np.zeros((len(chosen), len(parameters)))
        rows[np.arange(len(chosen)), chosen] = factor
        return rows, -factor * parameters[chosen]

    # ---------------------------------------------------------------- one structure

    def _draw(self, data, k):
        """Numbers of the measurements of structure k that are used, in random order; -1 is the energy."""
        n = 3 * data.items[k].n_atoms
        kinds = {"energy": [-1], "forces": np.arange(n), "stress": np.arange(n, n + 6)}
        drawn = []
        for kind, numbers in kinds.items():
            count = self._count(len(numbers) * self.fractions[kind]) if data.weight(k, kind) > 0 else 0
            if count and kind == "energy" and self._is_small_energy(data, k):
                continue
            if 0 < count < len(numbers) and self.thresholds[kind] > 0:
                drawn.append(self._draw_large(data, k, kind, numbers, count))
            elif count:
                drawn.append(self.rng.permutation(numbers)[:count])
        return self.rng.permutation(np.concatenate(drawn)) if drawn else np.empty(0, dtype=np.intp)

    def _is_small_energy(self, data, k):
        limit = self.thresholds["energy"] * self._rms["energy"]
        return limit > 0 and abs(self._errors(data, k, [-1])[0]) < limit

    def _count(self, expected):
        whole = int(expected)
        return whole + int(self.rng.random_sample() < expected - whole)

    def _draw_large(self, data, k, kind, numbers, count):
        """Draw `count` measurements; each the first of some trials whose error is large, or else the largest."""
        errors = np.abs(self._errors(data, k, numbers))
        order = self.rng.permutation(len(numbers))
        large = errors[order] > self.thresholds[kind] * self._rms[kind]
        places = []
        for group in np.array_split(np.arange(min(len(order), count * self.trials)), count):
            if len(group):
                hit = np.flatnonzero(large[group])
                places.append(group[hit[0]] if len(hit) else group[np.argmax(errors[order[group]])])
        return np.asarray(numbers)[order[places]]

    def _errors(self, data, k, numbers):
        return self._compare(data, k, np.asarray(numbers))[2]

    def _compare(self, data, k, numbers):
        """Forward pass, what leads to the measurements (rows, owners, starts), and their errors (target - found)."""
        item = data.items[k]
        found = StructurePass(self.networks, item.values, item.species)
        errors = np.empty(len(numbers))
        is_energy = numbers < 0
        errors[is_energy] = data.energy(k) - self.scale * found.energy / item.n_atoms
        paths = None
        if not is_energy.all():
            rows, owners, starts = data.derivatives(k)
            places, starts = segments(starts, numbers[~is_energy])
            paths = rows[places], owners[places], starts
            errors[~is_energy] = data.gradients(k)[numbers[~is_energy]] - self.scale * found.sums(*paths)
        return found, paths, errors

    def _measure(self, data, k, numbers):
        """Derivatives of measurements with respect to the parameters, and their errors, divided by their noise."""
        found, paths, errors = self._compare(data, k, numbers)
        is_energy = numbers < 0
        rows = np.empty((len(numbers), found.n_parameters))
        rows[is_energy] = found.energy_row() / found.n_atoms
        if paths is not None:
            rows[~is_energy] = found.sum_rows(*paths)
        n = 3 * found.n_atoms
        factors = np.empty(len(numbers))
        for kind, mine in zip(KINDS, (is_energy, ~is_energy & (numbers < n), numbers >= n), strict=True):
            factors[mine] = np.sqrt(data.weight(k, kind)) / self.noise
            self._sums[kind] += np.sum(errors[mine] ** 2)
            self._counts[kind] += int(mine.sum())
        return rows * (self.scale * factors)[:, None], errors * factors
