"""Training of moment tensor potentials: where its passes over the structures spend their time."""

import time
import warnings

import numpy as np
from ase.io import read
from cases import SHARED
from kalman import dgemm_rate
from mtp import count_operations, potential_file
from timing import stopwatch

from mlfeat import MomentTensorPotential, make_targets, presets
from mlfeat.descriptors import MomentTensor
from mlfeat.io import read_mtp
from mlfeat.metrics import evaluate
from mlfeat.potentials import _moment_design, _moment_model
from mlfeat.potentials._moment_design import Design
from mlfeat.potentials._moment_problem import MomentProblem
from mlfeat.potentials._moment_varpro import Projected

NANO = 1e-9
LEVEL = 20
HEADER = "passes over the training structures of Mo, level 20 with the radial functions of the published potential"
GRADIENT_PARTS = {
    "linear": (MomentTensor, "linear"),
    "radial": (MomentTensor, "radial_gradient"),
    "residuals": (_moment_model, "gradient_residuals"),
}
PASS_PARTS = {
    "values": (MomentTensor, "values"),
    "jacobian": (MomentTensor, "jacobian"),
    "radial_gradient": (MomentTensor, "radial_gradient"),
    "radial_jacobian": (MomentTensor, "radial_jacobian"),
    "assembled": (_moment_design, "_assembled"),
    "feature_products": (Design, "__init__"),
    "radial_products": (Design, "with_radial"),
    "solutions": (Projected, "__init__"),
}


def measure(options):
    """The loss with its gradient, a pass of variable projection, and with ``--slow`` trainings."""
    train = read(SHARED / "data" / "zuo2020" / "Mo" / "train.xyz", "::8" if options.quick else ":")
    problem, radial = _problem(train)
    report = {"n_structures": len(train), "n_atoms": sum(map(len, train)), "dgemm_gflops": dgemm_rate(options.repeats)}
    start = problem.project(radial)
    problem.penalty = start.penalty
    report["gradient"] = _measure_gradient(problem, (radial, start.coef, start.intercept), options)
    report["pass"] = _measure_pass(problem, radial, options)
    rate, dgemm = report["gradient"]["gflops"]["total"], report["dgemm_gflops"]
    print(f"dgemm {dgemm:.1f} GFLOP/s, of which loss and gradient reach {100 * rate / dgemm:.0f} %")
    if options.slow:
        report["training"] = [_measure_training(train, n_jobs) for n_jobs in (1, 2)]
    return report


def _problem(train):
    """The problem of the training, and the radial functions of the published potential to begin with."""
    descriptor = read_mtp(potential_file("Mo"), species=["Mo"])[0]
    generated = MomentTensor(
        descriptor.cutoff,
        LEVEL,
        min_dist=descriptor.min_dist,
        n_polynomials=descriptor.n_polynomials,
        radial_coefficients=descriptor.radial_coefficients_,
        scaling=descriptor.scaling,
    )
    with warnings.catch_warnings(action="ignore"):  # of distances below the published min_dist
        features = generated.fit_transform(train)
    potential = MomentTensorPotential()
    fitted, data, _ = potential._start(features, make_targets(train), None)
    problem = MomentProblem(
        data,
        fitted,
        fitted.basis_,
        scaling=fitted.scaling,
        alpha=potential.alpha,
        free_intercept=True,
        tied=True,
        n_jobs=None,
    )
    return problem, fitted.radial_coefficients_


def _measure_gradient(problem, parameters, options):
    """The loss and its derivatives by all parameters, as solver "bfgs" asks for them."""
    found = _watched(GRADIENT_PARTS, lambda: problem.loss(*parameters), options.repeats)
    items = problem.data.items
    n_atoms = sum(item.n_atoms for item in items)
    n_neighbors = sum(item.pairs.n_pairs for item in items) / n_atoms
    operations = count_operations(problem.descriptor(parameters[0]), n_neighbors)
    counted = {"linear": operations.linear, "radial": operations.radial_gradient}
    counted["total"] = sum(counted.values())
    rates = {name: NANO * n_atoms * number / found[name] for name, number in counted.items() if found[name]}
    print(f"loss and gradient: {_line(found)}")
    print(
        f"    {NANO * n_atoms * counted['total']:.3f} GFLOP; GFLOP/s: "
        + ", ".join(f"{name} {rate:.1f}" for name, rate in rates.items()),
        flush=True,
    )
    return found | {"operations": n_atoms * counted["total"], "n_neighbors": n_neighbors, "gflops": rates}


def _measure_pass(problem, radial, options):
    """All rows with their products, at radial functions and then with radial columns: a step of solver "varpro"."""
    found = _watched(PASS_PARTS, lambda: problem.linearize(problem.project(radial, keep=True)), options.repeats)
    n_features, n_radial = len(problem.basis.scalars), radial.size
    n_rows = sum(7 + 3 * item.n_atoms for item in problem.data.items)
    print(f"step of variable projection: {_line(found)}")
    print(f"    {n_rows} rows of {n_features} features and {n_radial} radial columns", flush=True)
    return found | {"n_rows": n_rows, "n_features": n_features, "n_radial": n_radial}


def _watched(parts, task, repeats):
    """Processor time of a task and of its parts, s: medians of some repeats."""
    found = []
    for _ in range(repeats):
        with stopwatch(parts, time.process_time) as watch:
            began = time.process_time()
            task()
            total = time.process_time() - began
        found.append({"total": total, **watch.seconds, "other": total - sum(watch.seconds.values())})
    return {name: float(np.median([one[name] for one in found])) for name in found[0]}


def _line(found):
    return ", ".join(f"{name} {seconds:.3f}" for name, seconds in found.items()) + " s"


def _measure_training(train, n_jobs):
    """The preset's training, features included, with its errors on the test set."""
    model = presets.mtp("Mo")
    for _, step in model.steps:
        step.set_params(n_jobs=n_jobs)
    began, began_cpu = time.perf_counter(), time.process_time()
    model.fit(train, make_targets(train))
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    with warnings.catch_warnings(action="ignore"):  # of extrapolation
        errors = evaluate(model, read(SHARED / "data" / "zuo2020" / "Mo" / "test.xyz", ":"))
    print(
        f"training, {n_jobs} thread{'s' * (n_jobs > 1)}: {seconds:.1f} s, {cpu:.1f} s of processors, "
        f"{model[-1].n_iter_} iterations, "
        f"test RMSE {1e3 * errors['energy_rmse']:.2f} meV/atom, {errors['force_rmse']:.4f} eV/Å",
        flush=True,
    )
    return {"n_jobs": n_jobs, "seconds": seconds, "cpu": cpu, "n_iter": model[-1].n_iter_} | errors
