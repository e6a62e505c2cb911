"""The comparison of Zuo et al., J. Phys. Chem. A 124, 731 (2020), again: `mlfeat compare` for each element, and a page.

::

    python benchmarks/yardstick.py run DATA OUT [--elements Ni Li Mo Si]
    python benchmarks/yardstick.py page OUT docs/yardstick [--models MODELS]

DATA is a folder with a folder of each element and ``train.xyz`` and ``test.xyz`` in it; OUT gets a folder of results
for each element, and is gone on with if it is there. The page's tables (CSV) and figures (SVG) are what
``docs/explanations/yardstick.rst`` shows. MODELS is a folder with the published models, as ``Mo/snap/*.snapcoeff``,
whose elastic constants are then set beside ours.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import published
from matplotlib.figure import Figure

import mlfeat
from mlfeat.plotting import LearningCurveDisplay, ParetoDisplay
from mlfeat.plotting._style import COLORS, add_grid
from mlfeat.properties import crystal_of_element, crystal_properties, phonons

SIZES = {"Mo": "432,2000,5488,11664"}
VARIANTS = {
    "snap": [{"twojmax": n} for n in (2, 4, 6, 8)],
    "qsnap": [{"twojmax": n} for n in (2, 4)],
    "gap": [{"n_max": n, "l_max": n, "n_sparse": m} for n, m in ((4, 200), (6, 500))],
    "nnp": [{"hidden_layers": [n, n], "models": 1} for n in (8, 16)],
    "mtp": [{"level": n} for n in (8, 12, 16)],
}
CONSTANTS = ("C11", "C12", "C44")


def run(data, out, elements):
    """Compare on each element."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "variants.json").write_text(json.dumps(VARIANTS))
    for element in elements:
        command = [sys.executable, "-m", "mlfeat", "compare", "--out", out / element, "--n-jobs", "2"]
        command += ["--train", data / element / "train.xyz", "--test", data / element / "test.xyz"]
        command += ["--scaling", SIZES.get(element, "432,2000")]
        command += ["--variants", out / "variants.json"]
        print(" ".join(map(str, command)), flush=True)
        subprocess.run(command, check=True)


def write_page(out, folder, models):
    """Tables and figures of what `run` found."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {element: json.loads((out / element / "results.json").read_text()) for element in published.ERRORS}
    write_table(folder / "errors.csv", error_rows(found))
    write_table(folder / "elastic.csv", elastic_rows(found, models))
    write_table(folder / "scaling.csv", scaling_rows(found["Mo"]))
    for element, content in found.items():
        methods = content["methods"]
        drawings = {
            "cost": lambda: ParetoDisplay.from_results(methods, figure=Figure()).figure_,
            "parameters": lambda: ParetoDisplay.from_results(
                methods, cost="n_parameters", sets=("train", "test"), figure=Figure()
            ).figure_,
            "learning": lambda: LearningCurveDisplay.from_results(methods, figure=Figure()).figure_,
            "phonons": lambda: phonon_figure(element, out / element, methods),
        }
        for name, draw in drawings.items():
            figure = draw()
            figure.suptitle(element)
            figure.savefig(folder / f"{element}-{name}.svg", metadata={"Date": None})


def error_rows(found):
    """Errors and costs of each element and potential, the paper's beside them."""
    for element, content in found.items():
        for method in content["methods"]:
            name, kind = method["method"], "mae" if method["method"] == "gap" else "rmse"
            energy, force = published.ERRORS[element][name]
            yield {
                "element": element,
                "potential": method["label"],
                "energy, meV/atom": f"{1000 * method['test'][f'energy_{kind}']:.2f}",
                "paper": f"{energy:.2f}",
                "force, eV/Å": f"{method['test'][f'force_{kind}']:.4f}",
                "paper ": f"{force:g}",
                "parameters": method["n_parameters"],
                "µs per atom and step": f"{method['us_per_atom']:.1f}",
            }


def elastic_rows(found, models):
    """Lattice and elastic constants of each element and potential, those of DFT and of published models beside them."""
    for element, content in found.items():
        reference = content["reference_properties"]
        first = {"element": element, "potential": "DFT", "a, Å": "", "largest error, %": ""}
        yield first | {f"{name}, GPa": f"{reference[name]:.0f}" for name in CONSTANTS} | {"published model": ""}
        for method in content["methods"]:
            own = method["properties"]
            worst = max((own[name] / reference[name] - 1 for name in CONSTANTS), key=abs)
            yield {
                "element": element,
                "potential": method["label"],
                "a, Å": f"{own['lattice_constant']:.3f}",
                "largest error, %": f"{100 * worst:+.1f}",
                **{f"{name}, GPa": f"{own[name]:.1f}" for name in CONSTANTS},
                "published model": published_constants(element, method["method"], models),
            }


def published_constants(element, method, models):
    """Elastic constants of a published model as "C11 / C12 / C44"; nothing where its files are not there."""
    folder = None if models is None else models / element / method
    if folder is None or not folder.exists() or method == "gap":  # of GAP, sparse points are lost
        return ""
    if method == "nnp":
        model = mlfeat.io.read_nnp(folder)
    elif method == "mtp":
        model = mlfeat.io.read_mtp(next(folder.glob("*.mtp")), species=[element])
    else:
        model = mlfeat.io.read_snap(next(folder.glob("*.snapcoeff")), next(folder.glob("*.snapparam")))
    found = crystal_properties(crystal_of_element(element), model, ("elastic",))
    return " / ".join(f"{found[name]:.0f}" for name in CONSTANTS)


def scaling_rows(content):
    """Seconds of a step of bulk Mo by number of atoms, Table S11 beside them."""
    for method in content["methods"]:
        ours = {point["atoms"]: point["seconds_per_step"] for point in method["scaling"]}
        slope = np.polyfit(np.log(list(ours)), np.log(list(ours.values())), 1)[0]
        yield {"potential": method["label"]} | {
            f"{atoms} atoms": f"{ours[atoms]:.3g} ({paper:g})"
            for atoms, paper in zip(published.SCALING["atoms"], published.SCALING[method["method"]], strict=True)
        } | {"power of the number of atoms": f"{slope:.2f}"}


def phonon_figure(element, folder, methods):
    """Phonon bands of each potential, side by side."""
    crystal = crystal_of_element(element)
    found = [phonons(crystal, mlfeat.load(folder / method["model"]), spacing=0.02) for method in methods]
    figure = Figure(figsize=(2.6 * len(methods), 3.2), layout="constrained")
    axes = figure.subplots(1, len(methods))
    top = 1.08 * max(one.frequencies.max() for one in found)
    for ax, method, one, color in zip(axes, methods, found, COLORS, strict=False):
        ticks = {0.0: one.labels[0][0]}
        for segment, (_, end) in zip(one.segments, one.labels, strict=True):
            ticks[one.distances[segment.stop - 1]] = end
            ax.plot(one.distances[segment], one.frequencies[segment], color=color, linewidth=1)
        ax.set_xticks(list(ticks), list(ticks.values()))
        add_grid(ax)
        ax.set(title=method["label"], xlim=(0, one.distances[-1]), ylim=(min(0, 1.05 * one.frequencies.min()), top))
    axes[0].set_ylabel("frequency (THz)")
    return figure


def write_table(path, rows):
    """Write dictionaries as CSV."""
    rows = list(rows)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def main():
    """Do one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    runs = commands.add_parser("run", help="compare on each element")
    runs.add_argument("data", type=Path)
    runs.add_argument("out", type=Path)
    runs.add_argument("--elements", nargs="+", default=list(published.ERRORS), choices=published.ERRORS)
    runs.set_defaults(do=lambda args: run(args.data, args.out, args.elements))
    page = commands.add_parser("page", help="write tables and figures of the results")
    page.add_argument("out", type=Path)
    page.add_argument("folder", type=Path)
    page.add_argument("--models", type=Path)
    page.set_defaults(do=lambda args: write_page(args.out, args.folder, args.models))
    arguments = parser.parse_args()
    arguments.do(arguments)


if __name__ == "__main__":
    main()
