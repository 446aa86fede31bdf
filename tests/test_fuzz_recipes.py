"""Recipes and experiments as strangers write them: each is understood or refused in a sentence, and nothing is made."""

import random
import resource
import tomllib
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ddcore
from ddcore import DataCard, DdcoreError, Recipe, RecipeRefused
from ddcore.experiment.plan import Experiment, Settings
from ddcore.packing import overridden, read_toml

HOST = ddcore.Host()
CARDS = [
    DataCard("images", (1, 8, 8), 3, (20, 20, 20), flips=False, mean=(0.4,), std=(0.3,)),
    DataCard("vectors", (12,), 3, (20, 20, 20), kind="vector"),
    DataCard("signals", (2, 32), 3, (20, 20, 20), kind="signal"),
    DataCard("values", (12,), 1, (60,), kind="vector", values=2),
]
DAY, MOMENT, NOON = (tomllib.loads(f"x = {text}")["x"] for text in ("1979-05-27", "1979-05-27T07:32:00Z", "12:00:00"))


def texts():
    """A whole experiment of each method, and of each protocol."""
    protocols = [entry.name for entry in HOST.catalogue.of("protocol")]
    methods = [entry.name for entry in HOST.catalogue.of("method")]
    for i, method in enumerate(methods):
        protocol = HOST.protocol(protocols[i % len(protocols)])
        yield Experiment(HOST.recipe(method), Settings(ddcore.plugin.Digits(), protocol)).to_toml()
    for protocol in protocols:
        yield Experiment(HOST.recipe("dm"), Settings(ddcore.plugin.Digits(), HOST.protocol(protocol))).to_toml()


TEXTS = list(texts())
NAMES = sorted({entry.name for entry in HOST.catalogue})
HUGE = [0, -1, 1, 2, 7, 64, 20_000, 10**9, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30]
ODD = ["", " ", "none", "nan", "\0", "a/../../b", "\u202e", "é" * 300, "x" * 5000, "convnet", "dm", "../x", "\n"]
REAL = [0.0, -0.0, 1e-308, 1e308, -1.5, float("nan"), float("inf"), float("-inf"), 0.5]
values = st.recursive(
    st.one_of(
        st.sampled_from(HUGE),
        st.sampled_from(ODD),
        st.sampled_from(REAL),
        st.sampled_from(NAMES),
        st.sampled_from([DAY, MOMENT, NOON, True, False, [], {}, {"none": True}]),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.just("name"), st.sampled_from(ODD), st.text(max_size=4)), inner, max_size=3),
    ),
    max_leaves=5,
)


def places(table, above=()):
    """Each place within ``table``: the keys that lead to it."""
    for key, value in table.items() if isinstance(table, dict) else enumerate(table):
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


def at(table, place):
    for key in place:
        table = table[key]
    return table


@st.composite
def tables(draw):
    """An experiment with one to three of its fields removed, renamed, added, or set to something else."""
    table = tomllib.loads(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(places(table))))
        held, key = at(table, place[:-1]), place[-1]
        match draw(st.sampled_from(["set", "set", "set", "swap", "remove", "add", "wrap"])):
            case "set":
                held[key] = deepcopy(draw(values))
            case "swap":
                held[key] = deepcopy(at(table, draw(st.sampled_from(list(places(table))))))
            case "remove":
                del held[key]
            case "add" if isinstance(held, dict):
                held[draw(st.sampled_from([*ODD, "name", "seed", "width", "a.b"]))] = deepcopy(draw(values))
            case "wrap":
                held[key] = draw(st.sampled_from([[held[key]], {"name": held[key]}, [[held[key]]]]))
        if not table:
            break
    return table


def written(table):
    """``table`` as a text; None where TOML cannot write it."""
    try:
        return tomli_w.dumps(table)
    except (ValueError, RecursionError):
        return None


def understood(text, *cards):
    """Whether ``text`` is an experiment: it is the same after a trip through TOML, and is checked on ``cards``."""
    try:
        found = Experiment.from_toml(text, HOST.catalogue)
    except DdcoreError as refused:
        said(refused)
        return False
    again = Experiment.from_toml(found.to_toml(), HOST.catalogue)
    assert again == found or "nan" in text
    assert Experiment.from_toml(again.to_toml(), HOST.catalogue).to_toml() == again.to_toml()
    assert found.folder().parent == Path("runs")
    for card in cards:
        try:
            final = HOST.kind(card.kind).adapted(found.recipe).fitted(card)
            final.check(card, HOST.catalogue)
        except DdcoreError as refused:
            said(refused)
    return True


def said(refused):
    """A refusal is one printable sentence."""
    sentence = str(refused)
    assert sentence and len(sentence) < 20_000
    sentence.encode()


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """A machine of 1 GiB, and a process that may not grow by more."""
    monkeypatch.setattr("ddcore.memory.memory", lambda: 2**30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20


COUNTED = {"derandomize": True, "deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@settings(max_examples=500, **COUNTED)
@given(tables(), st.sampled_from(CARDS))
def test_mutated_experiments_are_understood_or_refused(table, card):
    text = written(table)
    if text is not None:
        understood(text, card)


@pytest.mark.long
def test_many_mutated_experiments_are_understood_or_refused(recorded):
    counts = Counter()

    @settings(max_examples=30_000, **COUNTED)
    @given(tables(), st.sampled_from(CARDS))
    def each(table, card):
        text = written(table)
        counts["cannot be written" if text is None else "understood" if understood(text, card) else "refused"] += 1

    each()
    recorded({"cases": counts.total(), **counts})


@settings(max_examples=150, **COUNTED)
@given(st.sampled_from(TEXTS), st.randoms(use_true_random=False))
def test_damaged_texts_are_understood_or_refused(text, chance: random.Random):
    damaged = bytearray(text.encode())
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(damaged))
        damaged[place : place + chance.choice([0, 1, 1, 5])] = chance.choice([b"", b"\0", b"[", b"\xff", b"=", b"."])
    understood(damaged.decode(errors="replace"))


@settings(max_examples=200, **COUNTED)
@given(
    st.sampled_from(TEXTS), st.text(max_size=20) | st.sampled_from(["[" * 5000, "9" * 5000, "1979-05-27"]), st.data()
)
def test_fields_set_by_hand_are_understood_or_refused(text, value, data):
    recipe = Recipe.from_toml(
        tomli_w.dumps({k: v for k, v in tomllib.loads(text).items() if k != "experiment"}), HOST.catalogue
    )
    path = data.draw(st.sampled_from([".".join(map(str, place)) for place in places(tomllib.loads(recipe.to_toml()))]))
    try:
        overridden(recipe, {path: value}, HOST.catalogue)
    except DdcoreError as refused:
        said(refused)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.splitlines()[0])
def test_what_is_mutated_is_understood_as_it_is(text):
    assert understood(text, *CARDS)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("seed = 1979-05-27", "seed = 1979-05-27 is a date or a time, which no field holds"),
        ("seed = " + "9" * 5000, "is not TOML: "),
        ("seed = 0x" + "f" * 5000, "seed is a whole number beyond 64 bits"),
        ("seed = 9223372036854775808", "seed is a whole number beyond 64 bits"),
        ("seed = -1", "seed = -1: it must be at least 0"),
        ("seed = nan", "seed = nan is not usable"),
        ("x = " + "[" * 5000 + "]" * 5000, "is not TOML|lies more than 20"),
        ("x = " + "[" * 40 + "]" * 40, r"lies more than 20 tables or lists deep"),
        ("network = 5", "network must be a table that names a part"),
        ("network.name = 5", "network.name = 5 is no text"),
        ("network.name = ['mlp']", r"network.name = \['mlp'\] is no text"),
        ("network.name = ''", "There is no network named ''"),
        (
            "network.name = 'mlp'\nnetwork.depth = 20000",
            "network.depth = 20000: it must be at least 1 and at most 1000",
        ),
        ("[[synthetic]]\nname = 'pixels'", "synthetic must be a table"),
        ("synthetic = 'pixels'\n[synthetic.deep]", "is not TOML"),
        ('"network.width" = 5', "no field of recipe named 'network.width'"),
        ("seed = 1\nseed = 2", "is not TOML: Cannot overwrite"),
        ("name = 'a/b'\nsynthetic = 'pixels'", "name = 'a/b' stands in the names of folders"),
        ("name = ''\nsynthetic = 'pixels'", "name = '' stands in the names of folders"),
        ("plugins = 5", "plugins = 5 is not usable"),
    ],
)
def test_a_recipe_that_is_none_has_its_sentence(text, sentence):
    with pytest.raises(DdcoreError, match=sentence):
        Recipe.from_toml(text, HOST.catalogue)


def test_a_file_in_another_encoding_has_its_sentence(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_bytes('name = "Größe"'.encode("latin-1"))
    with pytest.raises(RecipeRefused, match="is not UTF-8"):
        read_toml(file)
    file.write_bytes(b"\xef\xbb\xbf" + HOST.recipe("dm").to_toml().encode())
    assert HOST.recipe(str(file)) == HOST.recipe("dm")


@pytest.mark.parametrize(
    "changes",
    [
        {"synthetic.ipc": 10**9},
        {"network.width": 10**6},
        {"network": "mlp", "network.width": 10**9},
        {"network": "mlp", "network.width": 10**6, "network.depth": 1000},
    ],
)
def test_what_memory_does_not_hold_is_refused_before_it_is_made(changes):
    recipe = overridden(HOST.recipe("dm", ipc=1), {**changes, "synthetic.init": "noise"}, HOST.catalogue)
    with pytest.raises(RecipeRefused, match=r"would hold .* numbers or more, .* of memory: take smaller sizes"):
        recipe.fitted(CARDS[0]).check(CARDS[0], HOST.catalogue)


@pytest.mark.parametrize("seed", [2**63, 10**5000, -1], ids=["64 bits", "5000 digits", "negative"])
def test_a_seed_that_generators_do_not_take_is_refused(seed):
    with pytest.raises(RecipeRefused, match=r"^seed = .*: it must be (at least 0|below 2\^63)"):
        replace(HOST.recipe("dm"), seed=seed)
