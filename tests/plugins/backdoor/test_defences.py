"""Defences: each on what it must find, and on what it must not."""

import numpy as np
import pytest
import torch
from ddcore_backdoor import (
    ActivationClustering,
    Defences,
    FineTuning,
    Patch,
    Pruning,
    Reconstruction,
    SpectralSignatures,
    Strip,
    Suspect,
    Toolbox,
)
from ddcore_backdoor.learning import head
from ddcore_backdoor.nets import entropy
from ddcore_backdoor.sets import signatures
from ddcore_backdoor.suspect import anomalies
from torch import nn

from ddcore import plugin as dd

SIDE, CLASSES = 6, 5


class Net(nn.Module):
    """Class c is the mean of column c; with ``door``, a white last pixel says class 2 whatever the rest."""

    def __init__(self, door):
        super().__init__()
        self.hidden, self.head = nn.Linear(SIDE * SIDE, CLASSES + 1), nn.Linear(CLASSES + 1, CLASSES)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            for c in range(CLASSES):
                self.hidden.weight[c].view(SIDE, SIDE)[:, c] = 1.0
                self.head.weight[c, c] = 3.0
            self.hidden.weight[CLASSES, -1] = 5.0
            self.hidden.bias[CLASSES] = 3.35  # just awake on black, which is -2/3 once standardised
            self.head.weight[2, CLASSES] = 20.0 * door

    def features(self, x):
        return self.hidden(x.flatten(1)).relu()

    def forward(self, x):
        return self.head(self.features(x))


def items(n, generator, stamped=False):
    """``n`` items of each class: a bright column in noise; the last column is dark."""
    targets = torch.arange(CLASSES).repeat_interleave(n)
    x = 0.2 * torch.rand(len(targets), 1, SIDE, SIDE, generator=generator)
    for image, c in zip(x, targets, strict=True):
        image[0, :, c] += 0.6
    x[..., CLASSES:] = 0
    return (Patch(width=1, margin=0)(x) if stamped else x), targets


@pytest.fixture
def suspect():
    def made(door, n=12):
        generator = torch.Generator().manual_seed(3)
        network = dd.ModuleNetwork(lambda: Net(door))
        params, buffers = network.init(generator)
        draw = dd.Draw(network, {name: value[None] for name, value in params.items()}, buffers, ensemble=1)
        x, y = items(n, generator)
        poison, _ = items(1, generator, stamped=True)
        clean, labels = items(8, generator)
        card = dd.DataCard("columns", (1, SIDE, SIDE), CLASSES, (n,) * CLASSES)
        preprocess = dd.Standardise((0.2,), (0.3,)).fitted(card).start(card, dict)
        inputs, targets = (torch.cat([x, poison]), torch.cat([y, torch.full((CLASSES,), 2)])) if door else (x, y)
        given = (preprocess(inputs), targets, draw, preprocess(clean), labels, preprocess, CLASSES)
        return Suspect(*given), torch.arange(len(inputs)) >= len(x)

    return made


@pytest.mark.parametrize(
    "defence", [ActivationClustering(silhouette=0.74), SpectralSignatures(threshold=9), Reconstruction(threshold=50)]
)
def test_the_target_is_accused_and_no_other_and_nothing_where_there_is_no_door(suspect, defence):
    poisoned, stamped = suspect(door=True)
    verdict = defence.examine(poisoned, dd.Streams(0))
    assert verdict.accused == (2,)
    if verdict.items is not None:
        assert torch.equal(verdict.items & stamped, verdict.items), "none that is clean"
        assert verdict.items.any()
    clean, _ = suspect(door=False)
    assert 2 not in defence.examine(clean, dd.Streams(0)).accused


def test_strip_refuses_what_the_trigger_decides_and_little_else(suspect):
    poisoned, _ = suspect(door=True)
    refuses = Strip(overlays=10, refused=0.05).examine(poisoned, dd.Streams(0)).refuses
    generator = torch.Generator().manual_seed(9)
    stamped, unmarked = (poisoned.preprocess(items(20, generator, s)[0]) for s in (True, False))
    assert refuses(stamped).float().mean() > 0.9
    assert refuses(unmarked).float().mean() < 0.3


def test_the_entropy_is_that_of_each_blend(suspect):
    poisoned, _ = suspect(door=True)
    raw, over = poisoned.preprocess.inverse(poisoned.inputs[:3]), poisoned.preprocess.inverse(poisoned.clean[:4])
    found = entropy(poisoned.draw, raw, over, poisoned.preprocess)
    for i in range(3):
        said = []
        for j in range(4):
            shares = poisoned.logits(poisoned.preprocess((raw[i] + over[j])[None] / 2))[0].softmax(0)
            said.append(-sum(float(p) * float(p.log()) for p in shares if p > 0))
        assert float(found[i]) == pytest.approx(sum(said) / 4, abs=1e-4)


def test_pruning_takes_out_what_clean_items_do_not_move(suspect):
    """The neuron of the door hears nothing of clean items; without it a stamped item is what it was."""
    poisoned, _ = suspect(door=True)
    repaired = Pruning(tolerance=0.0).examine(poisoned, dd.Streams(0)).repaired
    stamped, targets = items(10, torch.Generator().manual_seed(9), stamped=True)
    x = poisoned.preprocess(stamped)[None]
    assert (poisoned.draw(x).argmax(2) == 2).all()
    assert torch.equal(repaired(x).argmax(2)[0], targets)
    assert poisoned.right(repaired) >= poisoned.right(poisoned.draw)
    name, weights = head(poisoned.draw, poisoned.clean)
    assert not torch.equal(weights, repaired.params[name]), "a copy"


@pytest.mark.parametrize("defence", [FineTuning(steps=20, lr=1e-2), Pruning(then=FineTuning(steps=20, lr=1e-2))])
def test_fine_tuning_moves_a_copy_towards_the_clean_items(suspect, defence):
    poisoned, _ = suspect(door=True)
    before = {name: value.clone() for name, value in poisoned.draw.params.items()}
    repaired = defence.examine(poisoned, dd.Streams(0)).repaired

    assert poisoned.right(repaired) == 1.0
    assert any(not torch.equal(value, before[name]) for name, value in repaired.params.items())
    assert all(torch.equal(value, before[name]) for name, value in poisoned.draw.params.items())
    assert not any(value.requires_grad for value in repaired.params.values())


def test_classes_with_few_items_say_nothing(suspect):
    few, _ = suspect(door=False, n=2)
    for defence in (ActivationClustering(), SpectralSignatures()):
        assert defence.examine(few, dd.Streams(0)).accused == ()


def test_anomalies_are_deviations_of_a_gaussian_above_the_median():
    values = torch.randn(20001, generator=torch.Generator().manual_seed(0)) * 3 + 7
    assert torch.allclose(anomalies(values), (values - 7) / 3, atol=0.15)


# --- beside the toolbox ----------------------------------------------------------------------------------


def features(seed=0, n=30, d=8):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).double()


def test_signatures_are_the_toolboxs_of_centred_features():
    """Its code multiplies features that are not centred, unlike the paper: on centred ones both agree."""
    toolbox = pytest.importorskip("art.defences.detector.poison.spectral_signature_defense")
    x = features() + 4
    theirs = toolbox.SpectralSignatureDefense.spectral_signature_scores((x - x.mean(0)).numpy())
    assert np.allclose(np.square(theirs[:, 0]), signatures(x).numpy())


def test_a_small_cluster_that_stands_apart_is_one_for_the_toolbox_too():
    toolbox = pytest.importorskip("art.defences.detector.poison.clustering_analyzer")
    x = features()
    x[:6] += 12
    small, score = ActivationClustering().clusters(x, seed=0)
    assert small.tolist() == [True] * 6 + [False] * 24
    assert score > 0.1
    found = small.long().numpy()
    _, _, report = toolbox.ClusteringAnalyzer().analyze_by_silhouette_score([found], [x.numpy()])
    assert report["class_0"]["suspicious"]


@pytest.mark.parametrize("detector", ["activation_clustering", "spectral_signatures"])
def test_the_toolboxs_detectors_accuse_the_target_and_leave_the_global_generator(suspect, detector):
    pytest.importorskip("art")
    poisoned, stamped = suspect(door=True)
    before = np.random.get_state()[1].copy()
    first, again = (Toolbox(detector).examine(poisoned, dd.Streams(0)) for _ in range(2))
    assert np.array_equal(np.random.get_state()[1], before)
    assert 2 in first.accused
    assert (first.items & stamped).any()
    assert torch.equal(first.items, again.items), "the same seed, the same clusters"


def test_without_the_toolbox_its_defence_says_what_to_install(monkeypatch):
    monkeypatch.setattr("ddcore_backdoor.toolbox.find_spec", lambda name: None)
    with pytest.raises(dd.RecipeRefused, match=r"pip install ddcore-backdoor\[art\]"):
        Defences(sets=("nowhere",), defences=(Toolbox(),)).cases(dd.Host())
