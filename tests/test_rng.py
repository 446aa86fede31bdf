"""Named streams: one seed, no crosstalk, and secrets that the seed does not tell."""

import torch

from ddcore.rng import Streams, forked


def drawn(generator):
    return torch.rand(4, generator=generator).tolist()


def test_a_stream_depends_on_seed_and_name_alone():
    one, two = Streams(1), Streams(1)
    drawn(two["other"])
    assert drawn(one["init"]) == drawn(two["init"])
    assert drawn(Streams(1)["init"]) != drawn(Streams(2)["init"])
    assert drawn(Streams(1)["init"]) != drawn(Streams(1)["real"])


def test_secret_streams_do_not_come_from_the_seed():
    one, two = Streams(1), Streams(1)
    assert drawn(one.secret("noise")) != drawn(two.secret("noise"))
    assert drawn(one.secret("noise")) != drawn(Streams(1)["noise"])


def test_a_secret_stream_begins_from_more_than_a_seed():
    """A seed fills 32 bits of a CPU generator's state; a secret one has all its 19 968."""
    found = []
    for name in ("noise", "poisson"):
        generator = Streams(1).secret(name)
        words = generator.get_state().numpy()[24 : 24 + 8 * 624].view("uint64")
        assert words.max() < 2**32
        assert len(set(words.tolist())) > 600
        seeded = torch.Generator().manual_seed(generator.initial_seed())
        assert drawn(seeded) != drawn(generator)
        found.append(torch.randn(100_000, generator=generator))
    assert all(abs(float(x.mean())) < 0.02 and abs(float(x.std()) - 1) < 0.02 for x in found)
    assert abs(float((found[0] * found[1]).mean())) < 0.02


def test_streams_begin_anew_and_secrets_go_on():
    one = Streams(1)
    first, secret = drawn(one["nets"]), drawn(one.secret("noise"))
    one.rewind()
    assert drawn(one["nets"]) == first
    assert drawn(one.secret("noise")) != secret


def test_a_state_goes_on_where_it_was_taken_secrets_too():
    one = Streams(1)
    drawn(one["init"]), drawn(one.secret("noise"))
    state = one.state_dict()
    wanted = drawn(one["init"]), drawn(one.secret("noise"))
    two = Streams(1)
    two.load_state_dict(state)
    assert (drawn(two["init"]), drawn(two.secret("noise"))) == wanted


def test_code_that_knows_only_the_global_generator_is_seeded_and_leaves_no_trace():
    before = torch.get_rng_state()
    starts = []
    for _ in range(2):
        with forked(Streams(1)["nets"]):
            starts.append(torch.nn.Linear(3, 2).weight.detach())
    assert torch.equal(*starts)
    assert torch.equal(torch.get_rng_state(), before)


def test_secrets_never_enter_the_artefact(host, small, tiny, tmp_path):
    run = host.start(small(host.recipe("dm", iterations=1)), tiny)
    noise = run.rng.secret("noise").get_state().numpy().tobytes()
    run.run_until()
    assert noise not in run.export().save(tmp_path / "set.safetensors").read_bytes()
    assert run.state_dict()["rng"]["secret"].keys() == {"noise"}
