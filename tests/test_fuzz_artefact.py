"""Damage and strangers: a file is refused in a sentence, or it means what it meant and can be written again.

Each case is drawn by hypothesis, always the same ones. ``-m long`` tries forty times as many, and writes how many to
the file that ``DDCORE_TEST_RECORD`` names.
"""

import copy
import json
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import load_file

from ddcore import BadArtefact, DataCard, DdcoreError, DistilledSet, Host
from ddcore.experiment.reading import preprocess_of
from ddcore.report.comparison import compare
from ddcore.tensors import LabelledTensors, write_tensors

CASES, MORE = 150, 6000
CATALOGUE = Host().catalogue

ODD = (
    None,
    True,
    -1,
    0,
    7,
    2**63,
    10**400,
    1e308,
    -0.5,
    float("nan"),
    float("inf"),
    "",
    "\ud800",
    "[/]",
    "../x",
    [],
    {},
)
LEAVES = st.one_of(st.sampled_from(ODD), st.integers(-3, 12), st.floats(0, 2), st.text(max_size=6))
VALUES = st.one_of(LEAVES, st.lists(LEAVES, max_size=3), st.dictionaries(st.text(max_size=4), LEAVES, max_size=2))


def places(tree):
    """Each entry of a tree of tables and lists: what holds it, and where."""
    entries = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    for key, value in entries:
        yield tree, key
        yield from places(value)


def spoiled(draw, tree):
    """``tree`` with one to three entries changed, renamed, wrapped, removed, or put in each other's place."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(tree))
        if not found:
            break
        holder, key = draw(st.sampled_from(found))
        match draw(st.sampled_from(["change", "change", "rename", "wrap", "remove", "other"])):
            case "rename" if isinstance(holder, dict):
                holder[draw(st.text(max_size=6))] = holder.pop(key)
            case "wrap":
                holder[key] = [holder[key]]
            case "remove":
                del holder[key]
            case "other":
                where, name = draw(st.sampled_from(found))
                holder[key] = copy.deepcopy(where[name]) if name in range(len(where)) or name in where else None
            case _:
                holder[key] = draw(VALUES)
    return tree


def alike(one, other):
    """The same set: tensors bit for bit, and the whole card."""

    def tensors(found):
        beside = (found.preprocess_state, found.latent, found.teaching)
        return [found.tensors.state_dict(), *beside]

    plain = [
        f.name for f in fields(DistilledSet) if f.name not in ("tensors", "preprocess_state", "latent", "teaching")
    ]
    return (
        all(repr(getattr(one, name)) == repr(getattr(other, name)) for name in plain)
        and (one.loss, one.momentum) == (other.loss, other.momentum)
        and all(
            a.keys() == b.keys() and all(torch.equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a)
            for a, b in zip(tensors(one), tensors(other), strict=True)
        )
    )


@pytest.fixture(scope="module")
def whole():
    """A set with all that one can hold."""
    generator = torch.Generator().manual_seed(0)
    card = DataCard("made", (1, 4, 4), 3, (5, 6, 7), False, ("a", "b", "c"), (0.4,), (0.3,))
    tensors = LabelledTensors(
        torch.randn(6, 1, 4, 4, generator=generator),
        torch.randn(6, 3, generator=generator).softmax(1),
        step_sizes=torch.tensor([0.1, 0.2]),
        order=torch.tensor([[0, 1, 2], [3, 4, 5]]),
        momentum=0.5,
    )
    crops = {"boxes": torch.rand(6, 2, 4, generator=generator), "logits": torch.randn(6, 2, 3, generator=generator)}
    return DistilledSet(
        tensors,
        card,
        "made",
        'name = "made"\n',
        4000,
        "standardise",
        {"mean": torch.tensor([0.4]), "std": torch.tensor([0.3])},
        {"codes": torch.randn(2, 3, generator=generator)},
        crops,
        versions={"ddcore": "0"},
        facts={"seed": 0, "steps": 3, "seconds": 1.5, "certificate": {"epsilon": 3.0, "covers": ["a", "b"]}},
    )


@pytest.fixture
def saved(whole, tmp_path):
    return whole.save(tmp_path / "set.safetensors")


def header_of(blob):
    size = int.from_bytes(blob[:8], "little")
    return json.loads(blob[8 : 8 + size]), blob[8 + size :]


def with_header(header, rest):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def judged(path, whole=None):
    """Whether the set at ``path`` is refused; where it is not, it is ``whole``, and can be written and read again."""
    try:
        found = DistilledSet.load(path)
    except DdcoreError:
        return "refused"
    if whole is not None:
        assert alike(found, whole)
    assert alike(DistilledSet.load(found.save(path)), found)
    if found.preprocess in ("standardise", "zca", "identity"):
        assert preprocess_of(found, CATALOGUE).inverse(found.inputs).isfinite().all()
    return "as it was" if whole is not None else "accepted"


def damaged_bytes(saved, whole):
    original = saved.read_bytes()

    def attack(draw):
        blob = bytearray(original)
        match draw(st.sampled_from(["flip", "flip", "flip", "cut", "longer", "blank", "size", "swap"])):
            case "flip":
                for place in draw(st.lists(st.integers(0, 8 * len(blob) - 1), min_size=1, max_size=2, unique=True)):
                    blob[place // 8] ^= 1 << place % 8
            case "cut":
                del blob[draw(st.integers(0, len(blob) - 1)) :]
            case "longer":
                blob += draw(st.binary(min_size=1, max_size=9))
            case "blank":
                start = draw(st.integers(0, len(blob) - 1))
                blob[start : start + 64] = bytes(len(blob[start : start + 64]))
            case "size":
                blob[:8] = draw(st.integers(0, 2**64 - 1)).to_bytes(8, "little")
            case "swap":
                a, b = (draw(st.integers(len(blob) // 2, len(blob) - 16)) for _ in range(2))
                blob[a : a + 8], blob[b : b + 8] = blob[b : b + 8], blob[a : a + 8]
        saved.write_bytes(blob)
        return judged(saved, whole)

    return attack


def damaged_header(saved, whole):
    header, rest = header_of(saved.read_bytes())

    def attack(draw):
        saved.write_bytes(with_header(spoiled(draw, header), rest))
        return judged(saved, whole)

    return attack


def edited_card(saved, whole):
    """By hand, as one would who knows of no checksums."""
    header, rest = header_of(saved.read_bytes())
    card = json.loads(header["__metadata__"]["ddcore"])

    def attack(draw):
        told = {**header["__metadata__"], "ddcore": json.dumps(spoiled(draw, card))}
        saved.write_bytes(with_header({**header, "__metadata__": told}, rest))
        return judged(saved, whole)

    return attack


def stranger_card(saved, whole):
    """A card that somebody made with care: its checksums fit."""
    tensors, card = load_file(saved), json.loads(header_of(saved.read_bytes())[0]["__metadata__"]["ddcore"])

    def attack(draw):
        write_tensors(saved, tensors, {"ddcore": json.dumps(spoiled(draw, card))})
        return judged(saved)

    return attack


DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.bool, torch.uint8, torch.int8, torch.int32, torch.int64, torch.complex64),
)


def changed(draw, value):
    """A tensor like ``value`` that differs in dtype, shape or values."""
    match draw(st.sampled_from(["dtype", "point", "flat", "column", "fewer", "none", "fill"])):
        case "dtype":
            return (value.real if value.is_complex() else value).to(draw(st.sampled_from(DTYPES)))
        case "point":
            return value.flatten()[0] if value.numel() else value
        case "flat":
            return value.flatten()
        case "column":
            return value[..., None]
        case "fewer":
            return value[: draw(st.integers(0, len(value)))]
        case "none":
            return value[:0]
        case _:
            floats = [float("nan"), float("inf"), -1.0, 0.0, 7.0, 1e30]
            return torch.full_like(value, draw(st.sampled_from(floats if value.is_floating_point() else [-1, 0, 7])))


def stranger_tensors(saved, whole):
    """Tensors that somebody made with care: their checksums fit."""
    tensors, header = load_file(saved), header_of(saved.read_bytes())[0]

    def attack(draw):
        made = dict(tensors)
        for _ in range(draw(st.integers(1, 2))):
            name = draw(st.sampled_from(sorted(made)))
            match draw(st.sampled_from(["change", "change", "change", "remove", "swap", "rename"])):
                case "change" if made[name].ndim:
                    made[name] = changed(draw, made[name])
                case "remove" if len(made) > 1:
                    del made[name]
                case "swap":
                    other = draw(st.sampled_from(sorted(made)))
                    made[name], made[other] = made[other], made[name]
                case _:
                    new = draw(st.sampled_from(["order.0", "order.x", "latent.", "teaching.params.w", "x"]))
                    made[new] = made.pop(name)
        try:
            write_tensors(saved, made, {"ddcore": header["__metadata__"]["ddcore"]})
        except KeyError:  # a dtype that safetensors does not know
            return "not written"
        return judged(saved)

    return attack


def made_sets(saved, whole):
    """What can be made can be saved, and is loaded as it was."""
    texts = st.text(max_size=5)

    def attack(draw):
        field = draw(
            st.sampled_from([f.name for f in fields(DistilledSet)] + [f.name for f in fields(LabelledTensors)])
        )
        made = whole
        try:
            if field in {f.name for f in fields(LabelledTensors)}:
                value = getattr(whole.tensors, field)
                value = changed(draw, value) if isinstance(value, torch.Tensor) else draw(VALUES)
                if field == "order" and draw(st.booleans()):
                    value = tuple(value) if value.ndim else None
                made = replace(whole, tensors=replace(whole.tensors, **{field: value}))
            elif isinstance(getattr(whole, field), dict) and field not in ("versions", "facts"):
                held = dict(getattr(whole, field))
                name = draw(st.one_of(st.sampled_from(sorted(held)), texts))
                held[name] = changed(draw, held.get(name, torch.ones(1)))
                made = replace(whole, **{field: held})
            elif field == "data":
                name = draw(st.sampled_from([f.name for f in fields(DataCard)]))
                made = replace(whole, data=replace(whole.data, **{name: draw(VALUES)}))
            elif field != "tensors":
                made = replace(whole, **{field: draw(VALUES)})
        except BadArtefact:
            return "refused"
        assert alike(DistilledSet.load(made.save(saved)), made), field
        return "accepted"

    return attack


METRICS = {
    "method": "dm",
    "data": "digits",
    "ipc": 1,
    "seed": 0,
    "network": "convnet",
    "scores": {
        "accuracy": {
            "convnet": {"mean": 50.0, "std": 1.0, "values": [49.0, 51.0], "lr": 0.01},
            "mlp": {"mean": None, "std": None, "values": [None, None], "lr": 0.01},
        },
    },
    "baselines": {
        "random": {
            "accuracy": {
                "convnet": {"mean": 40.0, "std": 0.0, "values": [40.0, None], "lr": 0.01},
                "mlp": {"mean": 30.0, "std": 0.0, "values": [30.0, 30.0], "lr": 0.01},
            },
        }
    },
    "measures": {"accuracy": {"unit": "%", "higher_is_better": True, "digits": 1}},
    "chosen_by": "accuracy",
    "bytes": 1000,
    "baseline_bytes": {"random": 250},
    "seconds": {"distilling": 2.5, "evaluating": 1.0},
    "protocol": {
        "steps": 250,
        "batch": 64,
        "lr": [0.01],
        "augment": {"name": "affine"},
        "optimiser": {"name": "adam"},
        "repeats": 2,
        "networks": [{"name": "convnet", "width": 4}, {"name": "mlp"}],
        "measures": [{"name": "accuracy"}],
    },
    "steps": 100,
}


def damaged_metrics(saved, whole):
    first, second = saved.parent / "first", saved.parent / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "metrics.json").write_text(json.dumps({**METRICS, "seed": len(folder.name)}))
    intact = compare([first, second]).markdown()
    text = json.dumps(METRICS)

    def attack(draw):
        if draw(st.booleans()):
            (first / "metrics.json").write_text(json.dumps(spoiled(draw, METRICS)))
        else:
            place = draw(st.integers(0, len(text) - 1))
            changed = (
                text[:place] + draw(st.sampled_from(["", "0", "-", "[", "}", '"', "e9", "\\u0000"])) + text[place + 1 :]
            )
            (first / "metrics.json").write_text(changed)
        try:
            found = compare([first, second])
        except DdcoreError as error:
            return "refused" if str(first) in str(error) else f"named no file: {error}"
        found.csv()
        return "as it was" if found.markdown() == intact else "read"

    return attack


KINDS = (damaged_bytes, damaged_header, edited_card, stranger_card, stranger_tensors, made_sets, damaged_metrics)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_nothing_but_sentences(kind, saved, whole, fuzz):
    counts = fuzz(kind(saved, whole), CASES)
    assert counts["refused"] > CASES / 4


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_nothing_but_sentences_at_length(kind, saved, whole, fuzz):
    assert fuzz(kind(saved, whole), MORE)["refused"]


def test_every_flip_of_a_bit_is_refused_or_changes_nothing(saved, whole):
    """Each 53rd bit of the whole file, all of the kinds of bytes that it has among them."""
    blob = saved.read_bytes()
    for place in range(0, 8 * len(blob), 53):
        flipped = bytearray(blob)
        flipped[place // 8] ^= 1 << place % 8
        saved.write_bytes(flipped)
        judged(saved, whole)
