"""The contract of parts: what every part of the core, of its plugins and of the example one keeps."""

import importlib
import math
import pkgutil
import re
import types
import typing
from dataclasses import dataclass, fields, replace
from typing import Annotated

import pytest
from annotated_types import Ge, Gt, Le, Lt
from torch import nn

import ddcore
from ddcore import Host, PluginBroken, RecipeRefused
from ddcore import plugin as dd
from ddcore.bounds import Infinite, names_file
from ddcore.catalogue import Catalogue
from ddcore.packing import from_dict, overridden, to_dict
from ddcore.parts import field_docs, field_types
from ddcore.testing import sample

CATALOGUE = Host().catalogue
PARTS = [entry.maker for entry in CATALOGUE if isinstance(entry.maker, type)]
NOT_IN_THE_CATALOGUE = {"Recipe", "Settings"}
"""A recipe and the settings of an experiment hold parts; nothing holds them, so nothing looks them up by name."""
SIZED = {"balanced", "distilled", "olcgm", "reservoir"}
"""Memories, which are refused without a size."""


def numbers(hint, wrap=lambda value: value):
    """Each annotation of a number within ``hint``: its type, its bounds, and what makes a field's value of a number."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated and arguments[0] in (int, float):
        yield arguments[0], arguments[1:], wrap
    elif hint in (int, float):
        yield hint, (), wrap
    elif origin in (typing.Union, types.UnionType, Annotated):
        for inner in arguments if origin is not Annotated else arguments[:1]:
            yield from numbers(inner, wrap)
    elif origin in (tuple, list):
        length = 1 if arguments[-1] is Ellipsis else len(arguments)
        yield from numbers(arguments[0], lambda value: wrap((value,) * length))
    elif origin is dict:
        yield from numbers(arguments[1], lambda value: wrap({"inputs": value}))


def outside(kind, marks):
    """Numbers just outside the bounds ``marks``."""
    for mark in marks:
        limit = getattr(mark, type(mark).__name__.lower(), None)
        if isinstance(mark, Gt | Lt):
            yield kind(limit)
        elif isinstance(mark, Ge | Le) and math.isfinite(limit):
            away = math.inf if isinstance(mark, Le) else -math.inf
            yield limit + int(math.copysign(1, away)) if kind is int else math.nextafter(limit, away)
    if kind is float:
        yield math.nan
        if not any(isinstance(mark, Infinite) for mark in marks):
            yield math.inf


def made(part):
    """An instance of the class ``part``."""
    if part.part_name() == "by_loss":
        return part(dd.GradientMatch())
    return part(size=9) if part.part_name() in SIZED else sample(part)


BOUNDED = [
    pytest.param(part, f.name, kind, marks, wrap, id=f"{part.kind}-{part.part_name()}-{f.name}")
    for part in PARTS
    for f in fields(part)
    for kind, marks, wrap in numbers(field_types(part)[f.name])
    if marks
]


def name(part):
    return f"{part.kind}-{part.part_name()}"


@pytest.mark.parametrize(("part", "field", "kind", "marks", "wrap"), BOUNDED)
def test_numbers_out_of_bounds_are_refused_by_name(part, field, kind, marks, wrap):
    whole = made(part)
    for value in outside(kind, marks):
        with pytest.raises(
            RecipeRefused, match=rf"^{field}\b.* = .*: it must be .* \({part.kind}( {part.part_name()})?\)"
        ):
            replace(whole, **{field: wrap(value)})
        with pytest.raises(RecipeRefused, match=rf"^here\.{field}\b.* = "):
            from_dict(part, {**to_dict(whole), field: wrap(value)}, CATALOGUE, "here")


def test_a_number_out_of_bounds_is_refused_by_its_dotted_path():
    recipe = Host().recipe("dm")
    for path, said in (
        ("synthetic.ipc", "synthetic.ipc = 0: it must be at least 1."),
        ("objective.real", "objective.real = 0: it must be at least 1."),
        ("update.lr.inputs", "update.lr.inputs = 0.0: it must be above 0."),
    ):
        with pytest.raises(RecipeRefused) as refused:
            overridden(recipe, {path: 0}, CATALOGUE)
        assert str(refused.value) == said


def test_every_part_of_the_core_is_in_the_catalogue():
    for module in pkgutil.walk_packages(ddcore.__path__, "ddcore."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def below(cls):
        return {cls, *(inner for each in cls.__subclasses__() for inner in below(each))}

    own = {part for part in below(dd.Part) - {dd.Part} if re.match(r"ddcore\.(?!testing\.)", part.__module__)}
    concrete = {part for part in own if not getattr(part, "__abstractmethods__", None)}
    assert {part.__name__ for part in concrete - {*PARTS}} == NOT_IN_THE_CATALOGUE


@dataclass(frozen=True)
class Bodiless(dd.Carrier):
    """It lacks its ``build``."""


class Undecorated(dd.Policy):
    """Its field is none."""

    pace: dd.Count = 1

    def draw(self, state, synthetic, ctx):
        return ctx.fresh()


@dataclass(frozen=True)
class Checking(dd.Policy):
    """It checks its fields by hand."""

    pace: dd.Count = 1

    def __post_init__(self):
        assert self.pace < 5

    def draw(self, state, synthetic, ctx):
        return ctx.fresh()


@dataclass(frozen=True)
class Wide(dd.Carrier):
    """Its ``build`` wants more than it is given."""

    def build(self, card, device):
        return dd.Pixels().build(card)


@dataclass(frozen=True)
class Curt(dd.Policy):
    """Its ``check`` takes less than it is given."""

    def check(self, recipe):
        pass

    def draw(self, state, synthetic, ctx):
        return ctx.fresh()


class Half(dd.CarrierModule):
    def start(self, ctx: dd.Context) -> None:
        pass

    def nbytes(self) -> int:
        return 0


class Mute(dd.LabelModule):
    def nbytes(self) -> int:
        return 0


@dataclass(frozen=True)
class Halved(dd.Carrier):
    """Its live module is not whole."""

    def build(self, card: dd.DataCard) -> Half:
        return Half()


@dataclass(frozen=True)
class Either(dd.Carrier):
    """One of its live modules is not whole."""

    def build(self, card: dd.DataCard) -> nn.Identity | Half:
        return Half()


@dataclass(frozen=True)
class Muted(dd.Labels):
    """Its live module is not whole."""

    def build(self, card: dd.DataCard, carrier: dd.CarrierModule) -> Mute:
        return Mute()


@dataclass(frozen=True)
class Named(dd.Policy):
    """In a table of TOML, ``name`` says which part it is."""

    name: str = "mine"

    def draw(self, state, synthetic, ctx):
        return ctx.fresh()


@dataclass(frozen=True)
class Hiding(dd.Policy):
    """A part's ``parts`` are a method."""

    parts: dd.Count = 3

    def draw(self, state, synthetic, ctx):
        return ctx.fresh()


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (Named, r"its field name has a name that every part needs for itself: call it otherwise\."),
        (Hiding, r"its field parts has a name that every part needs for itself"),
        (Bodiless, r"the carrier Bodiless: Bodiless lacks build\(self, card.*which every carrier has\."),
        (Undecorated, r"Undecorated has the field pace, but no @dataclass\(frozen=True\) above it\."),
        (Checking, r"Checking defines __post_init__: give its fields bounds"),
        (Wide, r"its build\(self, card, device\) is called as build\(self, card"),
        (Curt, r"its check\(self, recipe\) is called as check\(self, recipe.*card.*network"),
        (Halved, r"Half lacks forward\(self, index.*which what Halved\.build returns has\."),
        (Either, r"Half lacks forward\(self, index.*which what Either\.build returns has\."),
        (Muted, r"Mute lacks forward\(self, index.*inputs.*which what Muted\.build returns has\."),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_part_that_is_not_whole_is_refused_when_it_is_announced(part, sentence):
    catalogue = Catalogue()
    with pytest.raises(PluginBroken, match=sentence):
        catalogue.add([dd.Pixels, part], "elsewhere")
    assert not list(catalogue)


@dataclass(frozen=True)
class Loose(dd.Carrier):
    """It says no more of what it builds than its kind does."""

    def build(self, card: dd.DataCard) -> dd.CarrierModule:
        return dd.Pixels().build(card)


def test_a_part_may_say_no_more_of_what_it_builds_than_its_kind():
    Catalogue().add([Loose], "elsewhere")


@pytest.mark.parametrize("module", [Half, Mute])
def test_an_incomplete_live_module_cannot_be_made(module):
    with pytest.raises(TypeError, match="abstract"):
        module()


@pytest.mark.parametrize("policy", [(dd.Fresh(),), "fresh", dd.Pixels(), None])
def test_what_is_no_part_of_a_fields_kind_is_refused(policy):
    with pytest.raises(
        RecipeRefused, match=r"^policy = .* is no part of the kind that belongs there \(policy perturbed\)"
    ):
        dd.Perturbed(policy)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.kind}-{part.part_name()}")
def test_fields_that_name_files_say_so(part):
    """By their docstrings: a set of a stranger must not choose what is read."""
    for name, said in field_docs(part).items():
        if part.kind != "data" and (said.startswith(("A safetensors file", "Safetensors file", "Folder where"))):
            assert names_file(field_types(part)[name]), name
