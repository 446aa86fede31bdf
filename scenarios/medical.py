"""BreastMNIST (ultrasound, 28x28), ten images per class: measures for unequal classes, and what a set tells of people.

Shows balanced accuracy and AUC on the official test split, beside random, herding and all 546 images; how near to
training images synthetic ones are; how sure a network that knows each training image by itself is whose image it sees;
and a membership audit (plugin private). The last two are put beside test images, which nobody made from T. Each set is
saved with a card that says what was not covered. Needs the plugin private and MedMNIST/breastmnist.npz below --root, or
--file with any file of MedMNIST. Not for clinical use.

    python scenarios/medical.py --root data     # about 10 minutes on one core; it goes on where it stopped
    python scenarios/medical.py --smoke         # scikit-learn's digits, a few steps: half a minute

Seen on BreastMNIST, mean ± std over three seeds (two networks each), in percent:

               balanced accuracy   AUC           copies   sureness      distance from T
    whole      71.4 ± 0.6          88.6 ± 0.8    -        -             -
    random     68.1 ± 0.3          74.5 ± 1.8    100      97.1 ± 0.2    0
    herding    68.0 ± 3.1          75.4 ± 1.5    100      96.8 ± 0.4    0
    dm         71.1 ± 2.6          80.1 ± 0.6    0        31.6 ± 2.9    17.3 ± 0.3
    frepo      68.9 ± 2.7          77.4 ± 0.9    0        65.7 ± 12.6   5.2 ± 0.4
    test images (nobody made them from T)                 41.0 ± 2.0    9.9

DM has 6 points of AUC and 3 of balanced accuracy more than random images, outside one standard deviation. Its images
are no nearer to T, nor named more surely, than test images; FrePo's are both. The audit (eight shadows, true positives
at 1 % false ones: dm 1.7 ± 1.1 %, random 1.7 ± 1.0 %) finds no leak of dm, which is no proof that there is none, and
that all images of random sets are copies.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from ddcore_private import Audit

import ddcore
from ddcore import plugin as dd

STEPS = {"random": None, "herding": None, "dm": 200, "frepo": 200}
"""Methods, and the steps of those that learn; frepo learns soft labels too."""
NOT_COVERED = [
    "No bound on what it tells of a person: it was made without differential privacy.",
    "A start from real images: items may resemble patients' images.",
    "Not validated for clinical use; the test split is from the same source, and other scanners were not tried.",
    "Groups of patients (age, origin) are not known in these data, so no difference between them was measured.",
]


def nearest(images: torch.Tensor, data: ddcore.RealData) -> dict[str, float]:
    """Root mean square distances from T per pixel, in percent of the range, and the share of copies, in percent.

    A copy is an image nearer to T than all but 1 % of the test images are: one of BreastMNIST's is an image of T.
    """
    train, test = (store.take(torch.arange(len(store))).inputs.flatten(1) for store in (data.train, data.test))
    of_made, of_test = (
        torch.cdist(x, train, compute_mode="donot_use_mm_for_euclid_dist").amin(1) / train.shape[1] ** 0.5
        for x in (images.flatten(1), test)
    )
    return {
        "median distance": 100 * float(of_made.median()),
        "median distance of test images": 100 * float(of_test.median()),
        "copies": 100 * float((of_made < of_test.quantile(0.01)).float().mean()),
    }


def knowing(data: ddcore.RealData, network: dd.NetworkPlan, seed: int, steps: int, device: str) -> dd.Draw:
    """A network whose classes are the training images, each by itself under changes of its place."""
    everybody = data.train.take(torch.arange(len(data.train))).inputs, torch.arange(len(data.train))
    people = dd.RealData.of("people", everybody, everybody, white=1.0)
    shown, card = dd.Preprocessed(people.train, dd.Identity().start(people.card, dict)), people.card
    return dd.train(network.ready(card), shown, card, dd.Protocol(steps=steps), 2e-3, [0], seed, torch.device(device))


def sureness(knows: dd.Draw, images: torch.Tensor) -> float:
    """The share that the network gives to the training image it names, in percent, the median over ``images``."""
    seen = images.to(next(iter(knows.params.values())).device)[None]
    with torch.no_grad():
        return 100 * float(knows(seen, training=False)[0].softmax(1).amax(1).median())


def measured(
    seed: int, host: ddcore.Host, data: ddcore.RealData, protocol: ddcore.Protocol, options: argparse.Namespace
) -> dict[str, float]:
    (network,), where = protocol.networks, {"device": options.device}
    knows = knowing(data, network, seed, 3 if options.smoke else 600, options.device)
    test = data.test.take(torch.arange(len(data.test))).inputs
    sets, found = {"whole": data.train}, {"test images | sureness": sureness(knows, test)}
    for method, steps in STEPS.items():
        words = {} if steps is None else {"iterations": 2 if options.smoke else steps}
        recipe = replace(host.recipe(method, ipc=options.ipc, **words), network=network, seed=seed)
        distilled = host.distill(recipe, data, **where)
        facts = {**nearest(distilled.images(), data), "sureness": sureness(knows, distilled.images())}
        distilled = distilled.with_facts(not_covered=NOT_COVERED, nearest=facts, warnings=NOT_COVERED[:3])
        distilled.save(Path(options.out) / f"{method}-{seed}.safetensors")
        sets[method] = distilled
        found |= {f"{method} | {name}": value for name, value in facts.items()}
    return {**dd.scored(sets, data, protocol, seed=seed, **where), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="the folder that holds MedMNIST/breastmnist.npz")
    parser.add_argument("--file", help="another file of MedMNIST")
    parser.add_argument("--out", default="runs/medical", help="where the sets and figures go")
    parser.add_argument("--ipc", type=int, default=10, help="images per class")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds")
    parser.add_argument("--shadows", type=int, default=8, help="distillations of the audit")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--smoke", action="store_true", help="scikit-learn's digits, a few steps, one seed")
    options = parser.parse_args()
    out, host, seeds = Path(options.out), ddcore.Host(), options.seeds
    plan = dd.Npz(str(Path(options.file or Path(options.root) / "MedMNIST" / "breastmnist.npz").absolute()))
    if options.smoke:
        plan, seeds, options.ipc, options.shadows = dd.Digits(), seeds[:1], 1, 4
    data = plan.load()
    network = ddcore.ConvNet(width=4 if options.smoke else 32, depth=3)
    measures = (dd.BalancedAccuracy(), dd.Auc(), dd.Accuracy())
    protocol = ddcore.Protocol(networks=(network,), measures=measures, steps=3 if options.smoke else 250, repeats=2)
    print(*data.notes, f"Items per class: {data.card.counts}.")
    measure = partial(measured, host=host, data=data, protocol=protocol, options=options)
    print(dd.repeated(measure, seeds, out, {"data": data.card.name, "ipc": options.ipc, "steps": protocol.steps}))
    steps = {"iterations": 2 if options.smoke else 100, "network.name": "convnet", "network.width": network.width}
    audit = Audit(
        plan,
        "dm",
        options.ipc,
        overrides=steps,
        shadows=options.shadows,
        protocol=replace(protocol, repeats=1, measures=(dd.Accuracy(),)),
        controls=("random",),
    )
    print(ddcore.run_study(audit, out / "audit", device=options.device))


if __name__ == "__main__":
    dd.program(main)
