"""Every part beside every other one: it takes two steps, or it is refused before anything of T is read."""

import itertools
import random
from dataclasses import replace

import pytest
import torch

from ddcore import Host, LossDiverged, RecipeRefused, StopRun
from ddcore import plugin as dd
from ddcore.synthetic import SyntheticSet
from ddcore.testing import smaller

HOST = Host()
SLOTS = {
    "network": "network",
    "policy": "policy",
    "labels": "labels",
    "synthetic": "carrier",
    "objective": "objective",
    "augment": "augment",
    "preprocess": "preprocess",
    "gate": "gate",
}
"""Fields of a recipe, and the kind of part that stands there."""


@pytest.fixture(scope="module")
def little():
    """Two classes of six grey images of 16x16 pixels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (12, 1, 16, 16), generator=generator, dtype=torch.uint8)
    split = images, torch.arange(12) % 2
    return dd.RealData.of("little", split, split, mean=(0.5,), std=(0.3,))


def pair(a, x, b, y):
    """The choices x of factor a and y of factor b, as one name for both orders."""
    return (a, x, b, y) if a < b else (b, y, a, x)


def covering(factors):
    """Rows of choices, one of each of ``factors``, in which every two choices of different factors meet."""
    left = {
        (a, x, b, y)
        for (a, xs), (b, ys) in itertools.combinations(enumerate(factors), 2)
        for x in range(len(xs))
        for y in range(len(ys))
    }
    rng, rows = random.Random(0), []
    while left:
        a, x, b, y = min(left)
        row = {a: x, b: y}
        for c in rng.sample(range(len(factors)), len(factors)):
            if c not in row:
                gains = [sum(pair(c, z, d, w) in left for d, w in row.items()) for z in range(len(factors[c]))]
                row[c] = gains.index(max(gains))
        left -= {(a, row[a], b, row[b]) for a, b in itertools.combinations(range(len(factors)), 2)}
        rows.append([factor[row[i]] for i, factor in enumerate(factors)])
    return rows


def choices(kind):
    """A small part of each class of ``kind`` that can be made of nothing, and of those that hold one of their kind."""
    inner = {"policy": dd.Fresh(), "objective": dd.FeatureMatch(real=4)}
    found = []
    for entry in HOST.catalogue.of(kind):
        for arguments in ((), ((inner.get(kind),),), (inner.get(kind),)):
            try:
                found.append(smaller(entry.maker(*arguments)))
                break
            except (AttributeError, TypeError, RecipeRefused):
                continue
    return found


def left_of(name):
    """What is left of the method ``name`` once :func:`composed` has laid parts into all its slots."""
    return repr(replace(HOST.recipe(name).update, lr={}, clamp=False))


METHODS = list({left_of(entry.name): entry.name for entry in HOST.catalogue.of("method")}.values())
"""One method of each kind of those of which the same is left."""
ROWS = covering([METHODS, *(choices(kind) for kind in SLOTS.values())])


def composed(name, parts, card):
    """The recipe of the method ``name`` with ``parts`` in their slots, and rates for all that it then learns."""
    recipe = smaller(HOST.recipe(name))
    recipe = replace(recipe, plugins={}, views=(), **dict(zip(SLOTS, parts, strict=True)))
    if recipe.objective is None:
        return recipe
    taken = recipe.objective.step_sizes
    recipe = replace(recipe, step_size=0.01 if taken else None, iterations=2).fitted(card)
    carrier = recipe.synthetic.build(card)
    groups = SyntheticSet(carrier, recipe.labels.build(card, carrier), recipe.step_size, max(1, taken)).groups()
    update = replace(recipe.update, lr=dict.fromkeys(groups, 1e-3), clamp=False)
    return replace(recipe, update=update)


@pytest.mark.parametrize("part", range(4))
def test_every_pair_takes_two_steps_or_is_refused_before_the_work(little, part):
    wrong = []
    for name, *parts in ROWS[part::4]:
        said = f"{name} with {', '.join(p.part_name() for p in parts)}"
        try:
            run = HOST.start(composed(name, parts, little.card), little)
        except RecipeRefused as refusal:
            if not str(refusal).endswith((".", "?")):
                wrong.append(f"{said}: no sentence: {refusal}")
            continue
        try:
            run.run_until(2)
            run.export()
        except (LossDiverged, StopRun):
            continue
        except Exception as error:
            wrong.append(f"{said}: {type(error).__name__}: {error}")
    assert wrong == []
