"""Parts as values: the trip through TOML, the catalogue, bad fields."""

from dataclasses import dataclass, field

import pytest

from ddcore import Part, PluginBroken, RecipeRefused, UnknownName
from ddcore.catalogue import Catalogue
from ddcore.packing import from_dict, overridden, parse_toml, to_toml


class Shape(Part, kind="shape"):
    pass


@dataclass(frozen=True)
class RoundDot(Shape):
    radius: float = 1.0


@dataclass(frozen=True)
class Pair(Shape):
    left: Shape = RoundDot()
    right: Shape | None = RoundDot(2.0)


@dataclass(frozen=True)
class Everything(Shape):
    number: int
    ratio: float | None = 0.5
    nothing: int | None = None
    names: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ((1, 2),)
    by_step: dict[int, float] = field(default_factory=dict)
    shape: Shape = RoundDot()
    shapes: tuple[Shape, ...] = ()
    maybe: Shape | None = None
    flag: bool = False


@pytest.fixture
def catalogue():
    found = Catalogue()
    found.add([RoundDot, Pair, Everything], "here")
    return found


@pytest.mark.parametrize(
    "part",
    [
        Everything(3),
        Everything(3, ratio=None, nothing=4, names=("a", "b"), sizes=((3, 4), (5, 6)), by_step={10: 0.1, 2: 1.0}),
        Everything(3, shape=Pair(Pair(), None), shapes=(RoundDot(3.0), Pair()), maybe=RoundDot(), flag=True),
    ],
)
def test_the_same_after_toml(part, catalogue):
    again = from_dict(Everything, parse_toml(to_toml(part), "here"), catalogue)
    assert again == part
    assert [type(key) for key in again.by_step] == [int] * len(part.by_step)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("number = 1\nnumbr = 2", "no field of everything named 'numbr'. Did you mean number"),
        ("ratio = 1.0", "everything lacks number"),
        ('number = "three"', "number = 'three' is not usable"),
        ("number = 1.5", "number = 1.5 is not usable"),
        ('number = 1\nflag = "yes"', "flag = 'yes' is not usable"),
        ("number = 1\nshape = 7", "shape must be a table that names a part"),
        ("number = 1\n[shape]\nradius = 2", "shape lacks its name"),
        ("number = 1\n[shapes]\nname = 'pair'", "shapes must be a list of names or tables"),
        ("number = 1\n[by_step]\nten = 0.1", "by_step = .* is not usable"),
        ("number = 1\nratio = x", "here is not TOML: .*line 2"),
    ],
)
def test_bad_fields_have_their_sentence(text, sentence, catalogue):
    with pytest.raises(RecipeRefused, match=sentence):
        from_dict(Everything, parse_toml(text, "here"), catalogue)


def test_an_unknown_part_lists_the_near_ones(catalogue):
    with pytest.raises(UnknownName, match=r"There is no shape named 'rond_dot'\. Did you mean round_dot"):
        from_dict(Everything, parse_toml("number = 1\n[shape]\nname = 'rond_dot'", "here"), catalogue)


def test_overrides_are_read_as_toml_and_checked(catalogue):
    changed = overridden(
        Everything(1), {"number": "7", "names": "['x']", "shape.radius": 3, "maybe.name": "pair"}, catalogue
    )
    assert changed == Everything(7, names=("x",), shape=RoundDot(3.0), maybe=Pair())
    assert overridden(changed, {"maybe": "none"}, catalogue).maybe is None
    with pytest.raises(RecipeRefused, match=r"number\.deeper cannot be set"):
        overridden(Everything(1), {"number.deeper": 1}, catalogue)


def test_a_text_in_the_place_of_a_part_is_its_name(catalogue):
    for text in ('number = 1\nshape = "pair"', "number = 1\n[shape]\nname = 'pair'"):
        assert from_dict(Everything, parse_toml(text, "here"), catalogue).shape == Pair()
    assert from_dict(Everything, parse_toml('number = 1\nshapes = ["pair"]', "here"), catalogue).shapes == (Pair(),)
    changed = overridden(Everything(1, shape=Pair()), {"shape.radius": 3, "shape": "round_dot"}, catalogue)
    assert changed.shape == RoundDot(3.0)
    kept = overridden(Everything(1, shape=RoundDot(3.0)), {"shape": "round_dot"}, catalogue)
    assert kept.shape == RoundDot(3.0), "the same name keeps its fields"
    with pytest.raises(UnknownName, match="no shape named 'pear'. Did you mean pair"):
        overridden(Everything(1), {"shape": "pear"}, catalogue)


def test_a_function_that_makes_a_part_is_named_as_one(catalogue):
    def big_dot():
        return RoundDot(9.0)

    big_dot.kind = "shape"
    catalogue.add([big_dot], "here")
    assert overridden(Everything(1), {"shape": "big_dot"}, catalogue).shape == RoundDot(9.0)
    assert overridden(Everything(1), {"shape": "big_dot", "shape.radius": 2.0}, catalogue).shape == RoundDot(2.0)


def test_two_parts_of_one_name_are_refused_and_the_same_twice_is_not(catalogue):
    catalogue.add([RoundDot], "elsewhere")
    impostor = type("RoundDot", (Shape,), {})
    with pytest.raises(PluginBroken, match="here and elsewhere both bring a shape named 'round_dot'"):
        catalogue.add([impostor], "elsewhere")
    with pytest.raises(PluginBroken, match="neither a part nor a method"):
        catalogue.add([print], "elsewhere")
