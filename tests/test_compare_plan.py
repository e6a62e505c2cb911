"""What a comparison consists of: parts of the training set, variants, and what is kept of its pieces."""

from argparse import Namespace

import pytest
from _cli_data import copper
from ase.calculators.singlepoint import SinglePointCalculator

from mlfeat.cli import _plan, _results, _tasks
from mlfeat.cli._compare_options import checked_variants
from mlfeat.cli._data import as_data
from mlfeat.cli._errors import UsageError
from mlfeat.cli._methods import Settings
from mlfeat.cli._plan import Plan, Wanted, nested_subsets
from mlfeat.cli._store import Store
from mlfeat.cli._user_models import UserModel


def test_subsets_are_nested_and_have_the_same_share_of_each_group():
    data = as_data("Cu", copper(20, 0))
    small, large = nested_subsets(data, (0.5, 0.2), 1).values()
    chosen = [{id(atoms) for atoms in part.structures} for part in (small, large)]
    assert chosen[0] < chosen[1]
    for part, each in ((small, 2), (large, 5)):
        assert part.summary()["groups"] == {"even": each, "odd": each}
    assert nested_subsets(data, (0.01,), 0)[0.01].summary()["groups"] == {"even": 1, "odd": 1}


def test_the_smallest_subset_has_two_structures_with_each_element():
    structures = copper(20, 0)
    for index in (3, 11, 14):
        results = structures[index].calc.results
        structures[index].symbols[0] = "Ni"
        structures[index].calc = SinglePointCalculator(structures[index], **results)
    data = as_data("CuNi", structures)
    for seed in range(5):
        small, large = nested_subsets(data, (0.1, 0.5), seed).values()
        assert {id(atoms) for atoms in small.structures} < {id(atoms) for atoms in large.structures}
        assert sum("Ni" in atoms.symbols for atoms in small.structures) == 2
        assert 2 <= len(small.structures) <= 4


def test_only_default_variants_are_left_out_if_they_are_the_model_of_the_table(tmp_path):
    def variants(asked):
        plan = Plan(["snap"], Settings(), train, train, tmp_path, Wanted(variants=asked), {})
        return list(plan.variants["snap"].values())

    train = as_data("train", copper(12, 0))
    asked = [{"twojmax": 8}, {"trials": 0}, {"twojmax": 2}]
    assert variants(None) == [{"twojmax": n} for n in (2, 4, 6)]
    assert variants({"snap": asked}) == asked


def test_variants_have_short_names_that_differ():
    names, variants = {}, [{"a": "x y"}, {"a": "x/y"}, {"a": "x_y"}, {"a": "x" * 300}, {"a": "x" * 301}, {"a": 1}]
    for variant in variants:
        names[_plan._slug(variant, names)] = variant
    assert list(names.values()) == variants
    assert max(map(len, names)) < 100
    assert _plan._slug({"a": "x y"}, names) == "a=x_y"  # the same again


def test_values_of_variants_are_those_of_the_options():
    asked = {"nnp": [{"hidden_layers": [4, 4], "cutoff": 5}], "mine": [{"anything": [1]}]}
    found = checked_variants("file", asked, ["nnp", UserModel("mine", "models.py", "model")])
    assert found == {"nnp": [{"hidden_layers": (4, 4), "cutoff": 5.0}], "mine": [{"anything": [1]}]}


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"snap": [{"energy_weight": "x"}]}, "file: snap: argument --energy-weight: 'x' is not a number"),
        ({"snap": [{"alpha": -1}]}, "file: snap: argument --alpha: '-1' is not a number of zero or more"),
        ({"old": [{"alpha": 1}]}, "file: old: a fitted model has no variants"),
    ],
)
def test_variants_that_cannot_be_are_refused(variants, message):
    with pytest.raises(UsageError, match=message):
        checked_variants("file", variants, ["snap", UserModel("old", "model.mlfeat")])


def test_a_variant_that_failed_is_told_once():
    tasks = [_tasks.Task(kind, "snap", max, (), {}) for kind in ("fit", "variant", "scaling")]
    failed = {task.name: {"status": "failed", "error": "no"} for task in tasks}
    comparison = Namespace(plan=Namespace(tasks=tasks), by_name=failed)
    assert _results.Results._errors(comparison, "snap") == {"scaling-snap": "no"}


@pytest.mark.parametrize("text", ["[]", "null", "3", '{"key": 1}', "{"])
def test_a_damaged_piece_is_none(text, tmp_path):
    task, store = _tasks.Task("fit", "snap", max, (), {}), Store(tmp_path)
    store.keep(task, {"status": "ok"})
    assert store.find(task) == {"status": "ok"}
    (tmp_path / "pieces" / "fit-snap.json").write_text(text)
    assert store.find(task) is None
