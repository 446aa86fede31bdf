"""DM, DC and DSA on the embedded digits at one image per class, three seeds, beside random, herding and the whole set.

Shows the main job at the size of a laptop, with the deviations over networks and over seeds apart. Needs nothing but
the installation.

    python scenarios/digits.py            # about 10 minutes on two cores
    python scenarios/digits.py --smoke    # two steps each: under a minute

Seen (test accuracy in percent; three seeds, five networks each; protocol quick; one thread of a busy machine):

    method    accuracy ± nets   ± seeds   seconds
    whole     98.3 ± 0.3        0.2
    dm        93.5 ± 1.1        0.3       141
    dsa       92.6 ± 0.9        0.6       104
    dc        92.0 ± 1.1        0.7       101
    herding   87.2 ± 1.8        1.9
    random    76.7 ± 1.7        2.6
"""

import argparse
from dataclasses import replace
from pathlib import Path

import ddcore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/digits", help="where the runs and the comparison go")
    parser.add_argument("--methods", nargs="+", default=["dm", "dc", "dsa"], help="which methods")
    parser.add_argument("--seeds", type=int, default=3, help="distillations of each")
    parser.add_argument("--smoke", action="store_true", help="two steps each, one network, one seed")
    options = parser.parse_args()
    short = {"iterations": 2} if options.smoke else {}
    protocol = ddcore.Protocol(steps=20, repeats=1) if options.smoke else ddcore.Protocol()
    digits = ddcore.data_set(ddcore.Host().catalogue, "digits")
    folders = []
    for method in options.methods:
        for seed in range(1 if options.smoke else options.seeds):
            recipe = replace(ddcore.recipe(method, ipc=1, **short), seed=seed)
            baselines = ("random", "herding", "whole") if method == options.methods[0] else ()
            folders.append(Path(options.out) / f"{method}-{seed}")
            found = ddcore.conduct(ddcore.Experiment(recipe, ddcore.Settings(digits, protocol, baselines)), folders[-1])
            score = found["accuracy"]["convnet"]
            print(f"{method}, seed {seed}: {score['mean']:.1f} ± {score['std']:.1f}", flush=True)
    comparison = ddcore.compare(folders)
    comparison.plot(Path(options.out) / "compare.png")
    print(comparison.markdown())


if __name__ == "__main__":
    main()
