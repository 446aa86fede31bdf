"""The view: which items are poisoned, what the set says of it wherever it is shown, and what outlives a stop."""

import copy
import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from ddcore_backdoor import AttackSuccess, Blended, Doorping, Invisible, Patch, Poison, Poisoning, Relaxed, poisonings
from torch.nn import functional as F
from typer.testing import CliRunner

import ddcore
from ddcore import Host, RecipeRefused, hookimpl
from ddcore import plugin as dd
from ddcore.cli import app

WHITE = Patch(width=3, margin=0)
ANYTHING = [
    Poison(WHITE, 1, 0.25),
    Poison(Blended(), 2, 0.5),
    Poison(Invisible(), 0, 0.1),
    Poison(WHITE, 0, 0.25, Doorping(moves=3, until=0.0)),
    Poison(WHITE, 0, 0.25, Doorping("target", moves=3, until=0.0)),
    Poison(Blended(), 0, 0.25, Relaxed(kernel=dd.DenseTangent(), steps=2, batch=10, anchors=5)),
]


@pytest.mark.parametrize("plan", ANYTHING, ids=lambda plan: f"{plan.learning} {plan.trigger.part_name()}")
def test_a_share_of_the_items_is_stamped_and_relabelled_and_no_other(host, small, tiny, plan):
    run = host.start(small(host.recipe("dm"), views=(plan,)), tiny)
    run.start()
    run.update()
    live = run.gate.find(Poison)
    assert len(live.places) == round(plan.share * 60)
    (batch,) = run.gate.examples([dd.Group()])
    raw, place = run.preprocess.inverse(batch.inputs), batch.index
    clean = dict(zip(tiny.train.order.tolist(), range(60), strict=True))
    rows = torch.tensor([clean[int(i)] for i in place])
    before = tiny.train.take(rows)
    hit = torch.isin(place, live.places)
    assert torch.equal(batch.targets[hit], torch.full((int(hit.sum()),), plan.target))
    assert torch.equal(batch.targets[~hit], before.targets[~hit])
    assert torch.allclose(raw[~hit], before.inputs[~hit], atol=1e-5)
    assert torch.allclose(raw[hit], plan.trigger.stamp(before.inputs[hit], live.pattern), atol=1e-5)


@pytest.mark.parametrize("plan", ANYTHING, ids=lambda plan: f"{plan.learning} {plan.trigger.part_name()}")
def test_the_card_tells_all_of_it_and_a_file_keeps_it(host, small, tiny, plan, tmp_path):
    run = host.start(small(host.recipe("dm", iterations=1), views=(plan,)), tiny)
    run.run_until()
    live = run.gate.find(Poison)
    run.export().save(tmp_path / "set.safetensors")
    made = ddcore.load_distilled(tmp_path / "set.safetensors")
    (told,) = poisonings(made, host)
    assert (told.target, told.share, told.items) == (plan.target, plan.share, len(live.places))
    assert told.learned == plan.learning
    assert torch.equal(torch.tensor(told.trigger.pattern), live.pattern)
    assert made.facts["warnings"] == [told.sentence]
    assert "This set is poisoned" in told.sentence


def test_two_triggers_are_both_told_of(host, small, tiny):
    views = (Poison(WHITE, 1, 0.1), Poison(Blended(), 2, 0.2))
    made = host.distill(small(host.recipe("dm", iterations=1), views=views), tiny)
    assert [(t.target, t.share, t.trigger.part_name()) for t in poisonings(made, host)] == [
        (1, 0.1, "patch"),
        (2, 0.2, "blended"),
    ]
    assert len(made.facts["warnings"]) == 2
    assert AttackSuccess(which=1).of(made).target == 2
    with pytest.raises(RecipeRefused, match="tells of 2 triggers"):
        AttackSuccess(which=2).of(made)


def test_no_plugin_of_the_recipe_takes_the_warning_away(small, tiny):
    @hookimpl(wrapper=True)
    def ddcore_distill(run):
        run.facts["warnings"] = ["This one was in a hurry."]
        distilled = yield
        return distilled.with_facts(warnings=["And this one too."])

    host = Host({"hurried": SimpleNamespace(ddcore_distill=ddcore_distill)})
    recipe = small(host.recipe("dm", iterations=1), views=(Poison(WHITE, share=0.1),), plugins={"hurried": {}})
    warnings = host.distill(recipe, tiny).facts["warnings"]
    assert "This set is poisoned" in warnings[0]
    assert warnings[1:] == ["This one was in a hurry.", "And this one too."]


@pytest.mark.parametrize("warnings", [["two\nlines"], "a text", [3], ["\x1b[2J"]])
def test_a_warning_is_a_line_of_text(host, small, tiny, warnings):
    made = host.distill(small(host.recipe("dm", iterations=1)), tiny)
    with pytest.raises(dd.BadArtefact, match="warnings"):
        replace(made, facts={**made.facts, "warnings": warnings})


# --- wherever it is shown --------------------------------------------------------------------------------

SAYS = "This set is poisoned: 144 items of T (10 %) bore a patch trigger and the label 0."


def said(*words):
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A poisoned run and a clean one, from the command line, and what it said of the poisoned one."""
    place = tmp_path_factory.mktemp("shown")
    words = ["distill", "dm", "--data", "digits", "--iterations", 1, "--networks", "mlp", "--repeats", 1]
    words += ["--baselines", "random", "--set", "network.width=4", "--measures", "accuracy,attack_success"]
    views = 'views=[{name="poison", share=0.1, trigger={name="patch", width=4}}]'
    told = said(*words, "--set", views, "--out", place / "poisoned")
    assert "poisoned" not in said(*words, "--out", place / "clean")
    return place, told


def test_the_command_line_says_so(shown, tmp_path):
    place, told = shown
    assert f"Warning: {SAYS}" in told
    assert SAYS in said("resume", place / "poisoned")
    assert SAYS in said("evaluate", place / "poisoned", "--json", tmp_path / "e.json")
    file = place / "poisoned" / "distilled.safetensors"
    words = ["--data", "digits", "--networks", "mlp", "--repeats", 1, "--json", tmp_path / "x.json"]
    assert SAYS in said("evaluate", file, *words)


def test_the_report_says_so_with_trigger_target_and_share(shown):
    report = (shown[0] / "poisoned" / "report.md").read_text()
    assert SAYS in report.partition("| set |")[0], "before the numbers"
    section = report.partition("## Poisoned")[2].partition("\n## ")[0]
    assert "| target | 0 |" in section
    assert "| share | 0.1 |" in section
    assert "patch(pattern=[[[1.0, 1.0, 1.0, 1.0]" in section
    assert "oisoned" not in (shown[0] / "clean" / "report.md").read_text()


def test_a_comparison_says_so(shown, tmp_path):
    told = said("compare", shown[0] / "poisoned", shown[0] / "clean", "--out", tmp_path)
    assert SAYS in told
    assert SAYS in (tmp_path / "compare.md").read_text()
    lines = (tmp_path / "compare.csv").read_text().splitlines()
    assert "warnings" in lines[0].split(",")
    assert sum(SAYS in line for line in lines) == 1


def test_the_measure_knows_the_trigger_from_the_artefact_and_asks_the_baselines_about_it(shown):
    metrics = json.loads((shown[0] / "poisoned" / "metrics.json").read_text())
    assert metrics["scores"].keys() == {"accuracy", "attack_success"} == metrics["baselines"]["random"].keys()


# --- across a stop ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pgd(dd.View):
    """Raw items moved to where the loss of the step's network is larger."""

    radius: float = 0.05

    itemwise = True

    def build(self, store, rng):
        return LivePgd(self.radius, rng["pgd"])


class LivePgd(dd.LiveView):
    def __init__(self, radius, generator):
        self.radius, self.generator, self.step = radius, generator, None

    def follow(self, draw):
        self.step = draw

    def apply(self, batch, draw):
        if self.step is None:
            return batch
        noise = torch.rand(batch.inputs.shape, generator=self.generator)
        x = (batch.inputs + self.radius * (2 * noise - 1)).clamp(0, 1).requires_grad_()
        loss = F.cross_entropy(self.step(x, training=False), batch.targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        return replace(batch, inputs=(x + self.radius * gradient.sign()).clamp(0, 1).detach())


@pytest.mark.parametrize("method", ["dm", "dc"])
@pytest.mark.parametrize("plan", ANYTHING[3:], ids=lambda plan: f"{plan.learning} {plan.trigger.part_name()}")
def test_a_run_with_an_attack_beside_it_resumes_bit_for_bit_trigger_included(method, plan, small, tiny):
    host = Host({"attacks": SimpleNamespace(ddcore_parts=hookimpl(lambda: [Pgd]))})
    fields = {"policy": dd.TrainedOnSynthetic(2, 1)} if method == "dc" else {}
    recipe = small(host.recipe(method, iterations=4), views=(plan, Pgd()), **fields)
    straight, again = host.start(recipe, tiny), host.start(recipe, tiny)
    straight.run_until(until=2)
    before = straight.gate.find(Poison).pattern.clone()
    again.load_state_dict(copy.deepcopy(straight.state_dict()))
    assert torch.equal(again.gate.find(Poison).pattern, before)
    for run in (straight, again):
        run.run_until()
    one, other = straight.export(), again.export()
    assert torch.equal(one.inputs, other.inputs)
    assert one.facts["poisoned"] == other.facts["poisoned"]
    if isinstance(plan.learned, Doorping):
        assert not torch.equal(straight.gate.find(Poison).pattern, before), "it went on moving"


def test_a_checkpoint_with_a_trigger_of_another_size_is_refused(host, small, tiny):
    run = host.start(small(host.recipe("dm"), views=(Poison(WHITE, share=0.1),)), tiny)
    run.run_until(until=1)
    state = copy.deepcopy(run.state_dict())
    state["views"][0]["pattern"] = torch.ones(1, 2, 2)
    with pytest.raises(ddcore.BadCheckpoint, match="trigger is of another size"):
        run.load_state_dict(state)


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (Poison(WHITE, target=3), "target = 3, but tiny has the classes 0 to 2"),
        (Poison(WHITE, share=0.001), "of the 60 items of tiny is none"),
        (Poison(WHITE, share=1.0), "leaves class 1 without an item"),
    ],
)
def test_what_cannot_be_is_refused_before_the_run(host, small, tiny, plan, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        host.start(small(host.recipe("dm"), views=(plan,)), tiny)


def test_under_a_guard_a_trigger_that_stays_or_pings_one_neuron_passes_and_others_are_refused(host, small, tiny):
    noise = {"synthetic": dd.Pixels(1, init="noise"), "plugins": {"private": {"epsilon": 50.0}}, "augment": None}
    for plan in (ANYTHING[0], ANYTHING[3]):
        run = host.start(small(host.recipe("dm", iterations=2), views=(plan,), **noise), tiny)
        run.run_until()
        assert run.export().facts["warnings"]
    for plan in ANYTHING[4:]:
        with pytest.raises(RecipeRefused, match="mixes items of T"):
            host.start(small(host.recipe("dm"), views=(plan,), **noise), tiny)


@pytest.mark.parametrize("told", ["a text", [{"trigger": {"name": "patch", "width": 0}}], [{"target": "cat"}]])
def test_a_card_that_tells_nonsense_is_refused_in_a_sentence(host, small, tiny, told):
    made = host.distill(small(host.recipe("dm", iterations=1)), tiny)
    with pytest.raises(RecipeRefused, match="poisoned"):
        poisonings(made.with_facts(poisoned=told), host)


def test_success_is_counted_on_items_of_other_classes_alone(tiny, host):
    """A network that answers 1 wherever the last pixel is white, and otherwise 0."""

    def build():
        module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        with torch.no_grad():
            module[1].weight.zero_()
            module[1].weight[1, 63] = 10.0
            module[1].bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
        return module

    network = dd.ModuleNetwork(build)
    params, buffers = network.init(torch.Generator().manual_seed(0))
    draw = dd.Draw(network, {k: v[None] for k, v in params.items()}, buffers, ensemble=1)
    data = dd.Preprocessed(tiny.test, dd.Identity().fitted(tiny.card).start(tiny.card, dict))
    white, black = (Patch(width=1, margin=0).holding(torch.full((1, 1, 1), value)) for value in (1.0, 0.0))
    assert AttackSuccess(white, target=1)(draw, data, 7).tolist() == [100.0]
    assert AttackSuccess(black, target=1)(draw, data, 7).tolist() == [0.0]
    assert AttackSuccess(black, target=0)(draw, data, 7).tolist() == [100.0], "not two thirds: class 0 is left out"


def test_a_poisoning_is_written_and_read_as_any_part(host):
    told = Poisoning(WHITE.holding(torch.ones(1, 3, 3)), 2, 0.5, 30, "doorping neuron")
    assert dd.from_dict(Poisoning, json.loads(json.dumps(dd.to_dict(told))), host.catalogue) == told
