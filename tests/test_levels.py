"""Numbers in few bits: they come back as they were counted, and as they were written."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.torch import load_file
from typer.testing import CliRunner

from ddcore import BadArtefact, DistilledSet, Host, RealData, RecipeRefused, coarsened, plugin
from ddcore.cli import app
from ddcore.levels import Levels, coarse, stored_bytes
from ddcore.store import plain
from ddcore.tensors import write_tensors
from ddcore.testing import smaller

BITS = st.sampled_from([4, 8, 16])
NUMBERS = arrays(
    "float32", array_shapes(min_dims=1, max_dims=4, max_side=5), elements=st.floats(-(2.0**99), 2.0**99, width=32)
)


@given(NUMBERS, BITS, st.booleans())
def test_levels_come_back_bit_for_bit_and_within_half_a_step(array, bits, apart):
    values = torch.from_numpy(array)
    levels = Levels.of(values, bits, axis=1 if apart and values.ndim > 1 else None)
    again = Levels.unpacked(levels.packed(), tuple(values.shape), levels.low, levels.high, bits)
    assert torch.equal(again.values(), levels.values())
    assert torch.equal(
        Levels.of(levels.values(), bits, axis=1 if levels.low.numel() > 1 else None).values(), again.values()
    )
    step = (levels.high.double() - levels.low.double()) / (2**bits - 1)
    room = step / 2 + 1e-6 * torch.maximum(levels.high.abs(), levels.low.abs()).double()
    assert bool(((levels.values().double() - values.double()).abs() <= room).all())


@given(NUMBERS, BITS)
def test_what_is_counted_is_what_is_packed(array, bits):
    values = torch.from_numpy(array)
    packed = Levels.of(values, bits).packed().nbytes + 8
    assert stored_bytes(values, bits) == min(values.nbytes, packed)
    assert torch.equal(coarse(coarse(values, bits), bits), coarse(values, bits))


def test_bytes_of_pictures_that_reach_both_ends_come_back_as_they_were():
    picture = torch.arange(256).float().div(255).sub(0.3).div(0.2).view(1, 1, 16, 16)
    assert torch.allclose(coarse(picture, 8), picture, atol=1e-6)


CARRIERS = sorted(
    e.name
    for e in Host().catalogue.of("carrier")
    if e.distribution == "ddcore" and "image" in (e.maker.suits or {"image"})
)


def made(carrier, data, **fields):
    """A run of DM, at its end, with what lies at ``carrier`` in the place of pixels."""
    host = Host()
    plan = smaller(host.catalogue.find("carrier", carrier).maker(ipc=4))
    changes = {"objective.real": 4, "network.width": 4, "network.depth": 2, "augment": "none"}
    recipe = replace(host.recipe("dm", iterations=2, overrides=changes), synthetic=replace(plan, **fields))
    rates = recipe.synthetic.build(data.card).groups()
    if not any(rates.values()):
        recipe = replace(recipe, objective=None, iterations=0)
    else:
        recipe = replace(recipe, update=replace(recipe.update, lr={name: 0.1 for name in rates if rates[name]}))
    run = host.start(recipe, data)
    run.hooks.ddcore_distill(run=run)
    return run


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_set_of_few_bits_is_what_its_file_holds(carrier, bits, tiny, tmp_path):
    run = made(carrier, tiny, bits=bits)
    before = {name: value.clone() for name, value in run.synthetic.state_dict().items()}
    distilled = run.export()
    assert all(torch.equal(value, before[name]) for name, value in run.synthetic.state_dict().items())
    first = distilled.save(tmp_path / "first.safetensors")
    again = DistilledSet.load(first)
    assert again.save(tmp_path / "second.safetensors").read_bytes() == first.read_bytes()
    assert (again.content, again.bits, again.nbytes) == (distilled.content, bits, distilled.nbytes)
    stored = load_file(first)
    held = [value for name, value in stored.items() if name.startswith("latent.")] or [stored["inputs"]]
    pictures = getattr(Host().catalogue.find("carrier", carrier).maker, "whole", False) and tiny.card.unit_range
    width = 1 if pictures else bits / 8
    numbers = [*distilled.latent.values()] or [distilled.inputs]
    least = sum(value.numel() * min(width, value.element_size()) for value in numbers)
    assert distilled.nbytes >= least + len(tiny.card.counts)
    assert distilled.nbytes <= sum(value.nbytes for value in held) * (1 if not pictures else 2) + 8 * 40 + 2 * len(
        again
    )
    with torch.no_grad(), run.synthetic.carrier.in_bits(bits):
        decoded = run.synthetic.carrier(torch.arange(len(again)))
    width = float(decoded.max() - decoded.min()) / (2**bits - 1)
    assert float((decoded - again.inputs).abs().max()) <= 0.51 * width + 1e-5


@pytest.mark.parametrize("carrier", [name for name in CARRIERS if name != "palette"])  # whose pixels are no numbers
def test_coarse_numbers_take_the_bytes_of_float32_ones(carrier, tiny):
    from ddcore.carriers.centres import Centres

    plan = smaller(Host().catalogue.find("carrier", carrier).maker(ipc=4))
    wide, coarser = (made(carrier, tiny, **fields).export() for fields in ({"ipc": 4}, {"ipc": 1, "coarse": 8}))
    assert not isinstance(plan, Centres) or plan.centres == "clusters"
    assert (coarser.bits, len(coarser)) == (8, len(wide))


def test_real_pictures_are_counted_at_the_byte_that_they_came_in(tiny):
    floats = RealData.of("floats", *(((s.inputs.float() / 255, s.targets)) for s in (tiny.train, tiny.test)))
    for data, width in ((tiny, 1), (floats, 4)):
        for method in ("random", "herding"):
            recipe = Host().recipe(method, ipc=2, overrides={"network.width": 4})
            if method == "herding":
                recipe = replace(recipe, synthetic=smaller(recipe.synthetic))
            made = Host().distill(recipe, data)
            assert made.nbytes == len(made) * (width * made.inputs[0].numel() + 1)


def test_soft_labels_and_teachers_are_coarse_too(tiny):
    changes = {"network.width": 4, "network.depth": 2, "labels.keep": True, "synthetic.bits": 8, "labels.fit": "fit"}
    recipe = Host().recipe("rded", ipc=2, overrides={**changes, "labels.fit.steps": 2, "synthetic.fit.steps": 2})
    small = Host().distill(recipe, tiny)
    whole = Host().distill(replace(recipe, synthetic=replace(recipe.synthetic, bits=None)), tiny)
    assert torch.equal(whole.at(8).targets, coarse(whole.targets, 8))
    assert whole.nbytes / 4 < small.nbytes < whole.nbytes / 2
    assert all(len(value.unique()) <= 256 for value in (small.inputs, small.targets))


def test_no_more_bits_are_made_of_few(tiny):
    distilled = made("pixels", tiny).export()
    coarser = distilled.at(8)
    assert coarser.nbytes == distilled.inputs.numel() + 8 + len(distilled)
    assert coarser.at(4).nbytes == distilled.inputs.numel() // 2 + 8 + len(distilled)
    with pytest.raises(BadArtefact, match="have 8 bits, of which 16 cannot be made"):
        coarser.at(16)
    with pytest.raises(RecipeRefused, match="bits = 5: it must be 4 or 8 or 16"):
        plugin.Pixels(bits=5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bits": None}, "levels of 'inputs', which are none"),
        ({"bits": 16}, "its levels of inputs are none"),
        ({"bits": 3}, "bits"),
        ({"levels": {}}, "its inputs are torch.uint8"),
        ({"levels": {"inputs": {"low": 1.0, "high": 0.0, "shape": [12, 1, 8, 8]}}}, "which are none"),
        ({"levels": {"inputs": {"low": 0.0, "high": 1.0, "shape": [12, 1, 8, 9]}}}, "its levels of inputs are none"),
        ({"levels": {"inputs": {"low": 0.0, "high": 1e300, "shape": [12, 1, 8, 8]}}}, "NaN or infinite"),
        ({"levels": {"strange": {"low": 0.0, "high": 1.0, "shape": [1]}}}, "levels of 'strange'"),
    ],
)
def test_levels_of_a_stranger_are_refused(change, sentence, tiny, tmp_path):
    from safetensors import safe_open

    path = made("pixels", tiny, bits=8).export().save(tmp_path / "set.safetensors")
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["ddcore"])
    write_tensors(path, load_file(path), {"ddcore": json.dumps({**card, **change})})
    with pytest.raises(BadArtefact, match=sentence):
        DistilledSet.load(path)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_set_made_coarse_afterwards_has_inputs_of_its_coarse_latent(carrier, tiny):
    run = made(carrier, tiny)
    coarser = coarsened(run.export(), 8)
    assert coarser.bits == 8
    if not coarser.latent:
        return
    with torch.no_grad(), run.synthetic.carrier.in_bits(8):
        decoded = plain(run.synthetic.carrier(torch.arange(len(coarser))))
    assert torch.allclose(coarse(decoded, 8), coarser.inputs, atol=1e-6)


def test_a_set_is_made_coarse_on_the_command_line(tiny, tmp_path):
    made("codes", tiny).export().save(tmp_path / "whole.safetensors")
    words = ["coarsen", str(tmp_path / "whole.safetensors"), str(tmp_path / "small.safetensors")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert DistilledSet.load(tmp_path / "small.safetensors").bits == 8
    assert "is there already" in CliRunner().invoke(app, words).output
    words[2] = str(tmp_path / "other.safetensors")
    said = CliRunner().invoke(app, [*words, "--bits", "5"])
    assert said.exit_code == 2 and "in 4, 8, 16 bits per number, not in 5" in " ".join(said.output.split())
