"""``mlfeat compare``: the main job, several potentials on the same data."""

import json
import sys
import tempfile

from tqdm import tqdm

from mlfeat.cli import _compare_options as compare_options
from mlfeat.cli import _options as options
from mlfeat.cli._compare_options import DESCRIPTION, EXAMPLES
from mlfeat.cli._data import as_data, check_species, load_data, read_structure
from mlfeat.cli._errors import UsageError, bad_input
from mlfeat.cli._forecast import forecast
from mlfeat.cli._guess import species_of
from mlfeat.cli._measure import conventional_crystal, crystal_of
from mlfeat.cli._methods import METHODS
from mlfeat.cli._plan import REFERENCE, Plan, Wanted, name_of
from mlfeat.cli._references import DFT_SOURCE, published_reference, read_reference
from mlfeat.cli._results import Results
from mlfeat.cli._store import Store
from mlfeat.cli._tables import all_tables
from mlfeat.cli._tasks import run_tasks
from mlfeat.datasets import make_emt_structures, split_by_group


def add_parser(subparsers):
    """The subcommand's arguments."""
    parser = options.add_parser(
        subparsers,
        "compare",
        help="fit several potentials to the same data and compare errors and costs",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    compare_options.add_options(parser)
    parser.set_defaults(run=run)


def run(args):
    """Do it; the exit code is 1 if a piece failed."""
    sources = _sources(args)
    settings = options.settings_of(args, args.methods, threads=max(1, args.threads // args.n_jobs))
    train, test = load_both(args)
    plan, results = _planned(args, sources, settings, train, test)
    with bad_input(args.out):
        args.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=args.out).close()  # an error now, where nothing can be written, not after a fit
        if any(plan.variants.values()):
            (args.out / "variants").mkdir(exist_ok=True)
    print(f"train: {_told(train)}\ntest:  {_told(test)}", flush=True)
    if not (plan.wanted.properties or args.quick or args.no_properties):
        print("no properties: the crystal of the data is not known; give one with --crystal", flush=True)
    if not (plan.wanted.sizes or args.quick or args.no_scaling):
        print("no scaling: the data have no crystal to repeat; give one with --crystal", flush=True)
    store = Store(args.out)
    if args.restart and not args.forecast:
        store.clear()
    if not args.no_forecast:
        results.forecast, text = forecast(plan, store, args.n_jobs, settings.threads)
        print(f"\n{text}", flush=True)
    if args.forecast:
        return 0
    return _run(plan, results, store, args.n_jobs, settings.threads)


def _run(plan, results, store, n_jobs, threads):
    failed = []
    with tqdm(total=len(plan.tasks), desc="pieces", unit=" pieces", disable=None if n_jobs > 1 else True) as bar:

        def tell(task, result, again):
            bar.update()
            if result is None:
                return
            results.add(task, result)
            if n_jobs == 1 and not again and sys.stderr.isatty():  # no bar here, as fits have their own
                print(f"{len(results.by_name)}/{len(plan.tasks)} {task.name}", file=sys.stderr)
            for kind, name, message in _complaints(plan, task, result):
                bar.write(f"mlfeat: {kind}: {name}: {message}", file=sys.stderr)
            if result.get("status") == "failed":
                failed.append(task)

        try:
            run_tasks(plan.tasks, store, n_jobs=n_jobs, threads=threads, tell=tell)
        finally:
            bar.close()
            content = results.content
            if content["methods"]:
                print("\n" + "\n\n".join(all_tables(content)))
                results.write_all()
                print(f"\nresults in {plan.folder}")
    return int(bool(failed))


def _complaints(plan, task, result):
    """What went wrong in a task: kind of message, where, what."""
    label = plan.labels.get(task.method, task.method)
    if result.get("status") == "failed":
        yield "error", label if task.kind == "fit" else f"{label}, {task.name}", result["error"]
    for name, error in result.get("property_errors", {}).items():
        yield "warning", f"{label}, {name}", error


def _sources(args):
    """What is compared: names of the five, and the user's models."""
    sources = [*args.methods, *args.model]
    names = [name_of(source) for source in sources]
    for name in names:
        if not name:
            raise UsageError("--model: a name needs a letter or a digit")
        if names.count(name) > 1 or name in METHODS and name not in args.methods or name == REFERENCE:
            raise UsageError(f"--model {name}: there is a method of this name; choose another")
    if not sources:
        raise UsageError("there is nothing to compare: name methods, or models with --model")
    return sources


def _planned(args, sources, settings, train, test):
    """The plan, and its results, of which there are none yet."""
    crystal, crystals = _crystals(args, train)
    properties = () if args.quick or args.no_properties or "properties" not in crystals else args.properties
    reference, source = _reference(args, train)
    emt = args.train is None and args.reference is None
    wanted = Wanted(
        properties=tuple(properties),
        fractions=() if args.quick or args.no_learning_curve else tuple(args.learning_curve),
        sizes=() if args.quick or args.no_scaling or "scaling" not in crystals else tuple(args.scaling),
        variants={} if args.quick or args.no_variants else _variants(args, sources),
        seed=args.seed,
    )
    plan = Plan(sources, settings, train, test, args.out, wanted, crystals, emt=emt, verbose=args.n_jobs == 1)
    return plan, Results(plan, args.command, crystal, reference, "ASE's EMT" if emt else source)


def _crystals(args, train):
    """What the crystal is called, and those for the scaling and for properties, where they are known."""
    if args.crystal is not None:
        crystal = read_structure(args.crystal)
        check_species(args.crystal, [crystal], species_of(train.structures))
        if not crystal.pbc.all():
            raise UsageError(f"{args.crystal}: not periodic in all directions")
        return args.crystal, {"properties": crystal, "scaling": crystal}
    species = species_of(train.structures)
    try:
        crystal = conventional_crystal(species)
    except ValueError:
        crystal = crystal_of(train.structures, 1)
        return None, {"scaling": crystal} if crystal.pbc.all() else {}
    if len(species) > 1:
        return None, {"scaling": crystal}
    return f"{species[0]} crystal", {"properties": crystal, "scaling": crystal}


def _reference(args, train):
    """Reference values of properties and where they are from, as far as they are known now."""
    if args.reference is not None:
        return read_reference(args.reference), str(args.reference)
    values = published_reference(train.structures)
    return values, DFT_SOURCE if values else None


def _variants(args, sources):
    """Settings of the variants of each method; None leaves them to the plan."""
    if args.variants is None:
        return None
    with bad_input(args.variants):
        variants = json.loads(args.variants.read_text(encoding="utf-8"))
    return compare_options.checked_variants(args.variants, variants, sources)


def load_both(args):
    """Training and test data as the arguments say, checked."""
    if args.train is None:
        if args.test is not None:
            raise UsageError("--test needs --train; without --train the test data are made too")
        element = args.element or "Cu"
        with bad_input("--element"):
            structures = make_emt_structures(element, random_state=args.seed, progress=None)
        name = f"EMT {element}"
        return _split(as_data(name, structures), args)
    if args.element is not None:
        raise UsageError("--element is for data made without --train; use one of the two")
    train = load_data(args.train, args)
    if args.test is None:
        return _split(train, args)
    test = load_data(args.test, args)
    check_species(test.name, test.structures, species_of(train.structures))
    return train, test


def _split(data, args):
    with bad_input(data.name):
        train, test = split_by_group(data.structures, args.test_fraction, random_state=args.seed)
    train, test = as_data(f"{data.name}, train", train), as_data(f"{data.name}, test", test)
    check_species(test.name, test.structures, species_of(train.structures))
    return train, test


def _told(data):
    """One line about a data set."""
    about = data.summary()
    groups = [f"{count} {group}" for group, count in about["groups"].items() if group]
    tail = f" ({', '.join(groups)})" if 1 < len(groups) < 8 else ""
    lack = [
        f"{about['structures'] - about[f'with_{kind}']} without {kind}"
        for kind in ("forces", "stress")
        if about[f"with_{kind}"] < about["structures"]
    ]
    return "; ".join([f"{data.name}: {about['structures']} structures, {about['atoms']} atoms{tail}", *lack])
