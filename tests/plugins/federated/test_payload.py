"""What travels: there and back within the encoding's error, and each way in which a stranger's set is refused."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from ddcore_federated import Shared
from ddcore_federated.payload import Limits, PayloadRefused, packed, unpacked
from ddcore_federated.shared import union
from hypothesis import strategies as st

from ddcore.plugin import LabelledTensors

LIMITS = Limits(shape=(2, 4, 4), classes=3, ipc=2, items=100, steps=5)


def npy(array, **fields):
    file = io.BytesIO()
    np.save(file, array, **fields)
    return file.getvalue()


def a_set(**fields):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(6, 2, 4, 4, generator=generator) * torch.tensor([1.0, 5.0])[:, None, None]
    items = fields.pop("items", 40)
    tensors = {"inputs": inputs, "targets": torch.arange(3).repeat_interleave(2), **fields}
    return Shared(LabelledTensors(**tensors), items)


def sent(shared, encoding="float32"):
    arrays, said = packed(shared, encoding)
    return {name: npy(array) for name, array in arrays.items()}, said


@pytest.mark.parametrize("side", [4, 5])
@pytest.mark.parametrize("encoding", ["uint4", "uint8", "float16", "float32"])
def test_a_set_comes_back_within_the_error_of_its_encoding(encoding, side):
    shared = a_set()
    if side == 5:
        shared = replace(shared, tensors=replace(shared.tensors, inputs=torch.randn(6, 1, 5, 5)))
    again = unpacked(*sent(shared, encoding), replace(LIMITS, shape=tuple(shared.inputs.shape[1:])))
    spread = shared.inputs.movedim(1, 0).flatten(1)
    halves = (spread.max(1).values - spread.min(1).values)[:, None, None] / 2 + 1e-5
    error = {"uint4": halves / 15, "uint8": halves / 255 + 1e-5, "float16": shared.inputs.abs() / 1000, "float32": 0}
    error = error[encoding]
    assert bool(((again.inputs - shared.inputs).abs() <= error).all())
    assert torch.equal(again.targets, shared.targets)
    assert (again.loss, again.items, again.momentum) == ("cross_entropy", 40, 0.0)
    assert (again.step_sizes, again.order) == (None, None)


def test_all_that_a_set_may_bring_comes_back():
    order = torch.tensor([[0, 1], [2, 5]])
    shared = a_set(targets=torch.rand(6, 3), step_sizes=torch.tensor([0.1, 0.02]), order=order, momentum=0.5)
    again = unpacked(*sent(shared), LIMITS)
    for name in ("targets", "step_sizes", "order"):
        assert torch.equal(getattr(again, name), getattr(shared, name)), name
    assert again.momentum == 0.5
    squared = a_set(targets=torch.rand(6, 3), loss="squared")
    assert unpacked(*sent(squared), LIMITS).loss == "squared"


def test_bytes_are_a_byte_a_value_and_little_more():
    plain = {name: array.nbytes for name, array in packed(a_set(), "uint8")[0].items()}
    assert plain == {"inputs": 6 * 32, "inputs.low": 8, "inputs.high": 8, "targets": 6}
    assert packed(a_set(), "uint4")[0]["inputs.pairs"].shape == (6, 16)
    assert packed(a_set(targets=torch.rand(6, 3)), "uint8")[0]["targets"].dtype == np.float16


def test_a_channel_of_one_value_travels():
    shared = a_set(inputs=torch.full((6, 2, 4, 4), 0.25))
    assert torch.equal(unpacked(*sent(shared, "uint8"), LIMITS).inputs, shared.inputs)


def test_what_an_encoding_cannot_hold_is_not_sent():
    with pytest.raises(PayloadRefused, match="not finite as float16. Take encoding float32"):
        packed(a_set(inputs=torch.full((6, 2, 4, 4), 1e6)), "float16")


def changed(name, value):
    def change(blobs, said):
        blobs[name] = value if isinstance(value, bytes) else npy(np.asarray(value))

    return change


def without(name):
    return lambda blobs, said: blobs.pop(name)


def saying(**fields):
    return lambda blobs, said: said.update(fields)


FLOATS = np.zeros((6, 2, 4, 4), np.float32)


def of_shape(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue() + bytes(4)


LYING = npy(FLOATS).replace(b"(6, 2, 4, 4)", b"(6, 2, 4, 9)")
NESTED = npy(FLOATS).replace(b"'fortran_order': False", b"'fortran_order': [[[]]]")
HUGE = npy(np.zeros((6, 2, 4, 4), np.float32)).replace(b"(6, 2, 4, 4), } ", b"(999999999999,), }")

HOSTILE = {
    "an unknown array": (changed("evil", [1.0]), "the array 'evil', which no set has"),
    "no inputs": (without("inputs"), "lacks inputs"),
    "no targets": (without("targets"), "lacks targets"),
    "inputs twice": (changed("inputs.pairs", np.zeros((6, 16), np.uint8)), "has inputs twice"),
    "pairs of another length": (
        lambda blobs, said: blobs.update({"inputs.pairs": npy(np.zeros((6, 15), np.uint8))}) or blobs.pop("inputs"),
        "items here are (2, 4, 4) that take 16 bytes",
    ),
    "pairs that are no bytes": (
        lambda blobs, said: blobs.update({"inputs.pairs": npy(np.zeros((6, 16), np.int64))}) or blobs.pop("inputs"),
        "its inputs are int64 (6, 16)",
    ),
    "pairs without a range": (
        lambda blobs, said: blobs.update({"inputs.pairs": npy(np.zeros((6, 16), np.uint8))}) or blobs.pop("inputs"),
        "lacks inputs.low or inputs.high",
    ),
    "not npy": (changed("inputs", b"\x80\x04pickled"), "no npy file"),
    "nothing": (changed("inputs", b""), "no npy file"),
    "a header that does not parse": (changed("inputs", NESTED), "no npy file"),
    "objects": (
        changed("inputs", npy(np.array([print, 1], dtype=object), allow_pickle=True)),
        "of dtype object; wanted is one of",
    ),
    "strings": (changed("targets", np.array(["a"] * 6)), "of dtype <U1"),
    "complex numbers": (changed("inputs", FLOATS.astype(np.complex64)), "of dtype complex64"),
    "wide floats": (changed("inputs", FLOATS.astype(np.float64)), "of dtype float64"),
    "more bytes than asked for": (
        changed("inputs", np.zeros((400, 2, 4, 4), np.float32)),
        "and 1792 are the most",
    ),
    "a shape that lies": (changed("inputs", LYING), "claim the shape (6, 2, 4, 9), which their bytes do not fill"),
    "a shape that lies hugely": (changed("inputs", HUGE), "claim the shape (999999999999,)"),
    "a shape of many axes": (changed("inputs", of_shape((1,) * 65)), "a shape of 65 axes"),
    "a shape of truths": (changed("inputs", of_shape((True,))), "no whole numbers"),
    "an empty array": (changed("inputs", np.zeros((0, 2, 4, 4), np.float32)), "they hold nothing"),
    "another shape": (
        changed("inputs", np.zeros((6, 1, 4, 4), np.float32)),
        "inputs are float32 (6, 1, 4, 4)",
    ),
    "too many items": (changed("inputs", np.zeros((7, 2, 4, 4), np.float32)), "has 7 items, and 2 for each of 3"),
    "NaN": (changed("inputs", FLOATS * np.nan), "inputs hold NaN or infinite numbers"),
    "infinity": (changed("inputs", FLOATS + np.inf), "inputs hold NaN or infinite numbers"),
    "values far out": (changed("inputs", FLOATS + 1e6), "reach 1e+06, and 100 is the largest"),
    "bytes without a range": (changed("inputs", FLOATS.astype(np.uint8)), "lacks inputs.low or inputs.high"),
    "a range without bytes": (changed("inputs.low", np.zeros(2, np.float32)), "a range for inputs that are not bytes"),
    "inputs as whole numbers": (changed("inputs", FLOATS.astype(np.int32)), "inputs are int32; wanted are floats"),
    "fewer targets": (changed("targets", np.zeros(5, np.uint8)), "targets are (5,); wanted are 6 classes"),
    "rows of another width": (changed("targets", np.zeros((6, 4), np.float32)), "or rows of 3 values"),
    "classes as floats": (changed("targets", np.zeros(6, np.float32)), "classes are whole numbers"),
    "a class too high": (changed("targets", [0, 0, 1, 1, 2, 3]), "outside the classes 0 to 2"),
    "a class below zero": (changed("targets", [0, 0, 1, 1, 2, -1]), "outside the classes 0 to 2"),
    "a class too often": (changed("targets", [0, 0, 0, 1, 2, 2]), "class 0 has more than 2 items"),
    "NaN in a row": (changed("targets", np.full((6, 3), np.nan, np.float32)), "targets hold NaN"),
    "a step size of zero": (
        changed("step_sizes", np.zeros(1, np.float32)),
        "not a row of finite numbers above zero",
    ),
    "a step size below zero": (changed("step_sizes", -np.ones(1, np.float32)), "numbers above zero"),
    "too many step sizes": (changed("step_sizes", np.ones(6, np.float32)), "step_sizes are 6, and 5 are the most"),
    "a huge step size": (changed("step_sizes", np.full(1, 1e9, np.float32)), "reach 1e+09"),
    "an order without step sizes": (changed("order", [[0]]), "1 steps in order and 0 step sizes"),
    "an order of strangers": (changed("order", [[6]]), "names items that are not among its 6"),
    "an order as floats": (changed("order", np.zeros((1, 1), np.float32)), "steps of whole numbers"),
    "too long an order": (changed("order", np.zeros((6, 1), np.int32)), "at most 5 steps"),
    "a strange loss": (saying(loss="hinge"), "its loss is 'hinge'"),
    "no loss": (lambda blobs, said: said.pop("loss"), "its loss is None"),
    "squares of classes": (saying(loss="squared"), "its loss 'squared' wants one row"),
    "no momentum": (saying(momentum="fast"), "momentum is 'fast'"),
    "too much momentum": (saying(momentum=1.0), "momentum is 1.0"),
    "no real items": (saying(items=0), "0 real items are behind it; wanted is 1 to 100"),
    "more real items than there are": (saying(items=10**18), "wanted is 1 to 100"),
    "a preprocessing that is no text": (saying(preprocess=["x"]), "which is no text"),
    "a momentum in a list": (saying(momentum=[0.5]), "momentum is [0.5]"),
    "items that are none": (saying(items=True), "True real items"),
    "warnings that are no list": (saying(warnings="beware"), "its warnings are not a list of at most 10 sentences"),
    "many warnings": (saying(warnings=["beware"] * 11), "its warnings are not a list of at most 10 sentences"),
    "a warning that is no text": (saying(warnings=[3]), "one of its warnings is no line of text"),
    "a long warning": (saying(warnings=["x" * 501]), "of at most 500 characters"),
    "a warning of control characters": (saying(warnings=["\x1b[2J"]), "one of its warnings is no line of text"),
}


@pytest.mark.parametrize(("change", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_a_strangers_set_is_refused(change, sentence):
    blobs, said = sent(a_set())
    unpacked(blobs, said, LIMITS)
    change(blobs, said)
    with pytest.raises(PayloadRefused) as refused:
        unpacked(blobs, said, LIMITS)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("inputs.low", np.full(2, np.nan, np.float32), "inputs.low hold NaN"),
        ("inputs.high", np.full(2, -90, np.float32), "a highest value for each channel"),
        ("inputs.low", np.zeros(3, np.float32), "for each channel"),
        ("inputs.high", np.full(2, 90e3, np.float32), "inputs.high reach"),
    ],
)
def test_a_range_that_is_none_is_refused(name, value, sentence):
    blobs, said = sent(a_set(), "uint8")
    blobs[name] = npy(value)
    with pytest.raises(PayloadRefused) as refused:
        unpacked(blobs, said, LIMITS)
    assert sentence in str(refused.value)


def test_columns_may_come_first():
    blobs, said = sent(a_set())
    inputs = np.asfortranarray(a_set().inputs.numpy())
    blobs["inputs"] = npy(inputs)
    assert torch.equal(unpacked(blobs, said, LIMITS).inputs, a_set().inputs)


def test_a_set_that_went_through_another_preprocessing_is_refused():
    mine, other = "standardise (mean 0.4; std 0.3)", "standardise (mean 0.5; std 0.3)"
    limits = replace(LIMITS, preprocess=mine)
    assert unpacked(*sent(replace(a_set(), preprocess=mine)), limits).preprocess == mine
    with pytest.raises(PayloadRefused, match="mean 0.4.*, and its inputs went through .*mean 0.5"):
        unpacked(*sent(replace(a_set(), preprocess=other)), limits)
    with pytest.raises(PayloadRefused, match="it does not say what its went through"):
        unpacked(*sent(a_set()), limits)


def test_whatever_is_sent_it_is_refused_or_can_be_trained_on(fuzz):
    """Bytes flipped, cut and exchanged, and what is said replaced."""
    order = torch.tensor([[0, 1], [2, 5]])
    shared = a_set(targets=torch.rand(6, 3), step_sizes=torch.tensor([0.1, 0.02]), order=order, momentum=0.5)
    original, said = sent(shared, "uint8")
    odd = st.sampled_from([None, True, -1, 0, 2**70, 0.5, float("nan"), "", "squared", [0.5], b"x"])

    def attack(draw):
        blobs, told = dict(original), dict(said)
        for _ in range(draw(st.integers(1, 2))):
            name = draw(st.sampled_from(sorted(blobs)))
            blob = bytearray(blobs[name])
            match draw(st.sampled_from(["flip", "flip", "cut", "longer", "exchange", "rename", "dtype", "say"])):
                case "flip" if blob:
                    place = draw(st.integers(0, 8 * len(blob) - 1))
                    blob[place // 8] ^= 1 << place % 8
                case "cut" if blob:
                    del blob[draw(st.integers(0, len(blob) - 1)) :]
                case "longer":
                    blob += draw(st.binary(max_size=9))
                case "exchange":
                    blob = blobs[draw(st.sampled_from(sorted(blobs)))]
                case "rename":
                    del blobs[name]
                    name = draw(st.sampled_from(["inputs", "inputs.pairs", "targets", "x"]))
                case "dtype":
                    dtypes = [np.float16, np.float32, np.float64, np.int64, np.uint8, np.bool_, np.complex64]
                    blob = npy(np.zeros(draw(st.sampled_from([(), (6,), (6, 3), (2,)])), draw(st.sampled_from(dtypes))))
                case "say":
                    told[draw(st.sampled_from(sorted(told)))] = draw(odd)
            blobs[name] = bytes(blob)
        try:
            found = unpacked(blobs, told, LIMITS)
        except PayloadRefused:
            return "refused"
        assert found.inputs.shape[1:] == LIMITS.shape and len(found) <= LIMITS.sets
        assert all(v.dtype == torch.float32 and v.isfinite().all() for v in (found.inputs, found.targets.float()))
        if (found.loss, found.momentum, found.order is None) == (shared.loss, shared.momentum, False):
            union([found, shared], 3)
        return "accepted"

    assert fuzz(attack, 150)["refused"] > 40


@pytest.mark.parametrize("encoding", ["uint4", "uint8", "float16", "float32"])
def test_what_a_set_warns_of_travels_with_it(encoding):
    warned = replace(a_set(), warnings=("It is poisoned.", "It was in a hurry."))
    assert unpacked(*sent(warned, encoding), LIMITS).warnings == warned.warnings
    assert unpacked(*sent(a_set(), encoding), LIMITS).warnings == ()
    blobs, said = sent(warned)
    said.pop("warnings")
    assert unpacked(blobs, said, LIMITS).warnings == (), "of a client that is older, or keeps them to itself"


def test_many_and_long_warnings_do_not_keep_a_set_from_travelling():
    warned = replace(a_set(), warnings=tuple(f"{i}: {'x' * 600}" for i in range(12)))
    found = unpacked(*sent(warned), LIMITS).warnings
    assert len(found) == 10
    assert found[0] == f"0: {'x' * 494}..."
    assert found[-1] == "There are 3 more warnings on the set's card."


def test_a_union_warns_of_what_each_part_warns_of():
    parts = [replace(a_set(), warnings=said) for said in ((), ("One.", "Two."), ("Two.", "Three."))]
    assert union(parts, 3).warnings == ("One.", "Two.", "Three.")
