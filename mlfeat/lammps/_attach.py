"""From a fitted model to a fix of LAMMPS."""

import os
import sys
import time
from ctypes import POINTER, c_double

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from ase.symbols import Symbols

from mlfeat._evaluator import Evaluator, check_energy
from mlfeat.lammps._domain import Domain

_COMMANDS = ("command", "commands_list", "commands_string", "file")
_VOIGT = ([0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2])  # LAMMPS' order: xx yy zz xy xz yz
FORWARDING = 0.2  # s: mpiexec drops what it has not passed on when the ranks end
_SAME_MASS = 0.1  # u; masses of an element differ less between tables


def attach(lmp, model, *, species=None, fix_id="mlfeat", skin=0.5, extrapolation="warn", on_error="raise"):
    r"""Let LAMMPS run a fitted model.

    On every rank, the model sees the rank's own atoms and those of other ranks that are within a cutoff of them, whose
    environments end at twice the cutoff. With E_i the energy of atom i and :math:`g_{ij} = \partial E_i / \partial
    r_{ij}`, the rank's share of the energy, the forces on its atoms and its share of the virial are

    .. math:: \sum_i E_i, \qquad F_i = \sum_j (g_{ij} - g_{ji}), \qquad -\sum_{ij} r_{ij} \otimes g_{ij}

    with i over its own atoms: the numbers of a single rank, up to rounding. Energies and virials of atoms are there,
    too, for ``compute pe/atom`` and ``compute stress/atom``; the virial of an atom is the part of the sum with it as i.

    Parameters
    ----------
    lmp : lammps.lammps
        LAMMPS with a box. On several ranks each of them calls `attach`.
    model : Pipeline
        A fitted Pipeline of a descriptor, steps that keep derivatives, and a potential; or a fitted search over one.
        Its baseline may be a :class:`~mlfeat.ZBL`; others are for LAMMPS to add, as a ``pair_style``.
    species : sequence of str, default=None
        Chemical symbols of LAMMPS' atom types 1, 2, ... By default those of the model's species that have the types'
        masses.
    fix_id : str, default="mlfeat"
        Name of the ``fix external`` that is made.
    skin : float, default=0.5
        What neighbor lists, LAMMPS' too, reach beyond the cutoff, Å.
    extrapolation : {"warn", "ignore", "raise"}, default="warn"
        What to do when features of an atom are beyond the range that they had in training; as for
        :class:`~mlfeat.PotentialCalculator`.
    on_error : {"raise", "abort"}, default="raise"
        What an error in a calculation on any rank does. "raise": the run ends, runs that follow in the same file are
        skipped, and the method of `lmp` that began it raises RuntimeError on all ranks. "abort": the message is
        printed, and all ranks end at once with status 1, as with LAMMPS' own errors.

    Raises
    ------
    TypeError
        If the model is not a Pipeline of the said form, or has a baseline that ranks cannot run.
    ValueError
        If LAMMPS has other units than ``metal``, or no box, or if a type is none of the model's species.
    ImportError
        If LAMMPS runs on several ranks and mpi4py is missing.

    Notes
    -----
    These commands are given, and must not be overruled afterwards: ``neighbor SKIN bin``, ``neigh_modify every 1 delay
    0 check yes``, ``comm_modify cutoff`` with twice the cutoff and the skin, and ``fix ID all external pf/callback 1
    1`` with its ``fix_modify``. Pair styles are added to the model.

    Examples
    --------
    >>> from mpi4py import MPI  # doctest: +SKIP
    >>> from lammps import lammps  # doctest: +SKIP
    >>> lmp = lammps()  # doctest: +SKIP
    >>> lmp.file("in.box")  # doctest: +SKIP
    >>> attach(lmp, model, species=["Mo"])  # doctest: +SKIP
    >>> lmp.command("run 1000")  # doctest: +SKIP
    """
    evaluator = Evaluator(model, n_threads=1, extrapolation=extrapolation)
    if evaluator.own_list_baseline is not None:
        name = type(evaluator.own_list_baseline).__name__
        raise TypeError(
            f"the baseline {name} cannot run on LAMMPS' ranks; set the potential's baseline to None, and give LAMMPS "
            "the same one as a pair_style"
        )
    if not 0 <= skin < np.inf:
        raise ValueError(f"skin={skin!r}: must be 0 or a positive number of Å")
    if on_error not in ("raise", "abort"):
        raise ValueError(f"on_error={on_error!r}: must be 'raise' or 'abort'")
    numbers = _numbers_of_types(lmp, evaluator.descriptor.species_, species)
    domain = Domain(lmp, _communicator(lmp), numbers, evaluator.cutoff, float(skin))
    for command in (
        f"neighbor {domain.skin!r} bin",
        "neigh_modify every 1 delay 0 check yes",
        f"comm_modify cutoff {domain.reach!r}",
        f"fix {fix_id} all external pf/callback 1 1",
        f"fix_modify {fix_id} energy yes virial yes",
    ):
        lmp.command(command)
    _Attached(lmp, evaluator, domain, fix_id, on_error)


def _numbers_of_types(lmp, known, species):
    """Atomic numbers of the types; that of type 0, which is none, is 0."""
    if lmp.extract_setting("box_exist") != 1:
        raise ValueError("LAMMPS has no box yet; attach the model after read_data or create_box")
    units = lmp.extract_global("units")
    if units != "metal":
        raise ValueError(f"LAMMPS has units {units}; models have eV and Å: begin the script with `units metal`")
    n_types = lmp.extract_setting("ntypes")
    if species is None:
        species = _species_by_mass(lmp.numpy.extract_atom("mass"), n_types, known)
    if isinstance(species, str) or len(species) != n_types:
        raise ValueError(f"species={species!r}: must be {n_types} chemical symbols, one for each atom type of LAMMPS")
    unknown = [str(symbol) for symbol in species if symbol not in known]
    if unknown:
        raise ValueError(f"species={species!r}: the model knows {', '.join(known)}, but not {', '.join(unknown)}")
    return np.array([0, *(atomic_numbers[symbol] for symbol in species)])


def _species_by_mass(masses, n_types, known):
    if len(known) == 1:
        return list(known) * n_types
    found = []
    for kind in range(1, n_types + 1):
        mass = 0.0 if masses is None else float(masses[kind])
        fitting = [symbol for symbol in known if abs(atomic_masses[atomic_numbers[symbol]] - mass) < _SAME_MASS]
        if len(fitting) != 1:
            raise ValueError(
                f"LAMMPS' atom type {kind} has the mass {mass:g}, not that of one of {', '.join(known)}; name the "
                f"elements of its {n_types} types in `species`"
            )
        found += fitting
    return found


def _communicator(lmp):
    if lmp.extract_setting("world_size") == 1:
        return None
    comm = lmp.get_mpi_comm()
    if comm is None:
        raise ImportError("LAMMPS on several ranks needs mpi4py: pip install 'mlfeat[lammps]'")
    return comm


class _Attached:
    """What LAMMPS calls at every step, on every rank."""

    def __init__(self, lmp, evaluator, domain, fix_id, on_error):
        self.lmp, self.evaluator, self.domain, self.fix_id, self.on_error = lmp, evaluator, domain, fix_id, on_error
        self.error = None
        lmp.set_fix_external_callback(fix_id, self._step)  # which keeps this object
        for name in _COMMANDS:
            setattr(lmp, name, self._checked(getattr(lmp, name)))

    def _step(self, _, step, n_local, tags, positions, forces):
        """The callback. Exceptions cannot pass through LAMMPS: all ranks agree whether there was one on any."""
        energy, error = np.nan, self.error
        if error is None:
            try:
                energy = self._calculate(n_local, forces)
            except BaseException as caught:  # also that of Ctrl-C
                error = caught
        energy, message = self._agree(energy, error, f"mlfeat in LAMMPS, step {step}")
        self.lmp.fix_external_set_energy_global(self.fix_id, energy)
        if message:
            forces[:] = np.nan  # nothing that looks like a result
            if self.error is None:
                self._stop(message, error)

    def _agree(self, energy, error, where):
        """Energy of all ranks, and what is to be said if there was an error on any."""
        comm = self.domain.comm
        if comm is None:
            return energy, error and f"{where}: {_text(error)}"
        energy, n_errors = comm.allreduce(np.array([energy if error is None else 0.0, error is not None]))
        if n_errors == 0:
            return energy, None
        texts = comm.allgather(error and f"rank {comm.rank}: {_text(error)}")
        return np.nan, f"{where}, {'; '.join(text for text in texts if text)}"

    def _stop(self, message, error):
        if self.on_error == "raise":
            self.error = RuntimeError(message)
            self.error.__cause__ = error
            self.lmp.force_timeout()  # ends the run, on all ranks, before its next step
            return
        comm = self.domain.comm
        if comm is None or comm.rank == 0:
            print(f"ERROR: {message}", file=sys.stderr, flush=True)
        if comm is None:
            os._exit(1)
        comm.Barrier()  # the message is out
        time.sleep(FORWARDING)
        comm.Abort(1)

    def _checked(self, method):
        """A method of LAMMPS' that raises what the callback could not."""

        def call(*args, **kwargs):
            try:
                return method(*args, **kwargs)
            finally:
                if self.error is not None:
                    error, self.error = self.error, None
                    self.lmp.command("timer timeout off")  # or later runs would end, too
                    raise error

        return call

    def _calculate(self, n_local, forces):
        """Forces on the rank's atoms, and its share of energy and virial."""
        pairs = self.domain.update(n_local)
        if pairs is None:
            self._set_virials(np.zeros((0, 3, 3)))
            return 0.0
        species = self.evaluator.descriptor.species_index(pairs.numbers)
        energies, values, gradients = self.evaluator.evaluate(pairs, species, gradients_too=True)
        energies = energies[:n_local]
        energy = float(energies.sum())
        check_energy(energy)
        if values is not None:  # the environments of some of the others are cut
            self.evaluator.watch(values[:n_local], species[:n_local], Symbols(pairs.numbers[:n_local]))
        gradients = gradients()
        forces[:] = pairs.forces(gradients)[:n_local]
        if not np.isfinite(forces).all():
            raise ValueError("the forces are not finite: the structure is beyond the model's range")
        self.lmp.fix_external_set_energy_peratom(self.fix_id, energies)
        self._set_virials(-pairs.virials(gradients)[:n_local])
        return energy

    def _set_virials(self, virials):
        virials = np.ascontiguousarray(virials[:, *_VOIGT])
        # LAMMPS takes a global virial for that of all ranks, and gives each an equal part, which it sums up again.
        total = virials.sum(axis=0) * self.lmp.extract_setting("world_size")
        self.lmp.fix_external_set_virial_global(self.fix_id, total)
        # LAMMPS' own wrapper copies number by number, which takes longer than the model.
        rows = virials.ctypes.data + virials.strides[0] * np.arange(len(virials), dtype=np.uintp)
        rows = rows.ctypes.data_as(POINTER(POINTER(c_double)))
        self.lmp.lib.lammps_fix_external_set_virial_peratom(self.lmp.lmp, self.fix_id.encode(), rows)


def _text(error):
    return f"{type(error).__name__}: {error}"
