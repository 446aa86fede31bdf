"""BreastMNIST (ultrasound, 28x28), ten images per class: measures for unequal classes, and what a set tells of people.

Shows balanced accuracy and AUC on the official test split, beside random, herding and all 546 images; how near to
training images synthetic ones are, and how near those of the test split are; and a membership audit (plugin private).
Each set is saved with a card that says what was not covered. Needs the plugin private and MedMNIST/breastmnist.npz
below --root, or --file with any file of MedMNIST. Not for clinical use.

    python scenarios/medical.py --root data     # about 20 minutes on one core, three seeds
    python scenarios/medical.py --smoke         # scikit-learn's digits, a few steps: half a minute

Seen: the smoke form alone, on scikit-learn's digits, one image per class: the share of synthetic images nearer to T
than any test image is 1.0 ± 0.0 for random, herding, dm and frepo after two steps, as it must be for starts from
real images, and the audit finds copies. BreastMNIST has not been measured to the end.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import torch
from ddcore_private import Audit

import ddcore
from ddcore import plugin as dd

STEPS = {"random": None, "herding": None, "dm": 300, "frepo": 300}
"""Methods, and the steps of those that learn; frepo learns soft labels too."""
NOT_COVERED = [
    "No bound on what it tells of a person: it was made without differential privacy.",
    "A start from real images: items may resemble patients' images.",
    "Not validated for clinical use; the test split is from the same source, and other scanners were not tried.",
    "Groups of patients (age, origin) are not known in these data, so no difference between them was measured.",
]


def nearest(distilled: ddcore.DistilledSet, data: ddcore.RealData) -> dict[str, float]:
    """Root mean square distances per pixel: the least of a synthetic image from T, and the median of both.

    ``copies`` is the share of synthetic images nearer to T than any test image is.
    """
    pixels = [data.train, data.test]
    train, test = (store.take(torch.arange(len(store))).inputs.flatten(1) for store in pixels)
    made, size = distilled.images().flatten(1), train.shape[1] ** 0.5
    of_made, of_test = (torch.cdist(x, train).amin(1) / size for x in (made, test))
    return {
        "least": float(of_made.min()),
        "median": float(of_made.median()),
        "median of the test images": float(of_test.median()),
        "copies": float((of_made < of_test.min()).float().mean()),
    }


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
    out, host, seeds, where = Path(options.out), ddcore.Host(), options.seeds, {"device": options.device}
    plan = dd.Npz(str(Path(options.file or Path(options.root) / "MedMNIST" / "breastmnist.npz").absolute()))
    if options.smoke:
        plan, seeds, options.ipc, options.shadows = dd.Digits(), seeds[:1], 1, 4
    data = plan.load()
    out.mkdir(parents=True, exist_ok=True)
    network = ddcore.ConvNet(width=4 if options.smoke else 32, depth=3)
    protocol = ddcore.Protocol(
        networks=(network,),
        measures=(dd.BalancedAccuracy(), dd.Auc(), dd.Accuracy()),
        steps=3 if options.smoke else 250,
        repeats=2,
    )
    found: dict[str, list[float]] = defaultdict(list)
    print(*data.notes, f"Items per class: {data.card.counts}.")
    for seed in seeds:
        scored = {"whole": ddcore.evaluate(data.train, data, protocol, seed=seed, **where)}
        for method, steps in STEPS.items():
            words = {} if steps is None else {"iterations": 2 if options.smoke else steps}
            recipe = replace(host.recipe(method, ipc=options.ipc, **words), network=network, seed=seed)
            distilled = host.distill(recipe, data, **where)
            distances = nearest(distilled, data)
            distilled = distilled.with_facts(not_covered=NOT_COVERED, nearest=distances, warnings=NOT_COVERED[:3])
            distilled.save(out / f"{method}-{seed}.safetensors")
            scored[method] = ddcore.evaluate(distilled, data, protocol, seed=seed, **where)
            for name, value in distances.items():
                found[f"{method} | distance | {name}"].append(value)
        for label, scores in scored.items():
            for measure, each in scores.items():
                found[f"{label} | {measure} | convnet"].append(each["convnet"].mean)
        (out / "finding.json").write_text(json.dumps(found, indent=1))
    for line, values in found.items():
        digits = 4 if "distance" in line else 1
        print(f"{line} | {fmean(values):.{digits}f} ± {stdev(values) if len(values) > 1 else 0:.{digits}f}")
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
    print(ddcore.run_study(audit, out / "audit", **where))


if __name__ == "__main__":
    main()
