"""What the runs of a study have reached, those that were stopped among them: each set is evaluated as far as it came.

Shows how a run that ends before its iterations do is still a point of its method's curve: the last checkpoint holds the
set, which is evaluated by the protocol of its experiment. Needs the folder of a study of experiments, and the data
where the study read them.

    python scenarios/reached.py --out runs/reproduce                        # minutes for each run that was stopped
    python scenarios/reached.py --out runs/reproduce --record "NVIDIA H200"   # and keep the rows, with where it ran
    python scenarios/reached.py --smoke                                     # of a tiny run on the digits: seconds

Seen of scenarios/reproduce.py on an NVIDIA H200, four runs side by side, by the papers' protocol, ConvNet-3 of width
128, real start, one seed; accuracy in percent ± over the networks (published); dm was stopped:

    fashion  ipc 10  dm      15815 of  20000    625 s   83.4 ± 0.2 (-)
    fashion  ipc 1   dsa      1000 of   1000    244 s   70.2 ± 0.5 (70.6)
    mnist    ipc 10  dm      15862 of  20000    625 s   97.2 (-)
    mnist    ipc 1   dsa      1000 of   1000    244 s   88.9 ± 1.3 (88.7)

Two networks of fashion's dm and one of mnist's were trained instead of five. By protocol dc, which does not augment,
ten random images have 74.0 ± 1.0 on fashion and 94.9 ± 0.7 on mnist, herded ones 77.2 ± 0.8 on fashion
(scenarios/yardstick.py).
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import ddcore
from ddcore import plugin as dd

RECORD = Path(__file__).parent / "results" / "reproduce.json"
"""What was run: the device, and a row for each set, with the iterations that it had and what evaluated it."""
VERSIONS = ("ddcore", "torch")


def reached(case: Path, networks: int, told: dd.Progress | None) -> dict[str, Any]:
    """A row for the run in ``case``; ``networks`` are trained on a set that was stopped."""
    host = ddcore.Host()
    folder = ddcore.Folder(case)
    experiment = folder.experiment(host.catalogue)
    recipe, protocol = experiment.recipe, experiment.settings.protocol
    if folder.metrics.exists():
        metrics = json.loads(folder.metrics.read_text())
        steps, seconds = recipe.iterations, metrics["seconds"]["distilling"]
        nets, by = metrics["scores"]["accuracy"]["convnet"]["values"], metrics["versions"]
    else:
        data = experiment.settings.data.load()
        run = host.start(recipe, data)
        folder.restore(run)
        steps, seconds = run.step, run.seconds
        scores = ddcore.evaluate(run.export(), data, replace(protocol, repeats=networks), progress=told)
        nets, by = scores["accuracy"]["convnet"].values, {name: version(name) for name in VERSIONS}
    name = experiment.settings.data.part_name()
    return {
        "data": name,
        "method": recipe.name,
        "ipc": recipe.ipc,
        "iterations": steps,
        "of": recipe.iterations,
        "seconds": round(seconds),
        "nets": [round(value, 2) for value in nets],
        "evaluated_by": {name: by[name] for name in VERSIONS},
        "published": dd.published_accuracy(recipe.name, name, recipe.ipc),
    }


def lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        nets = row["nets"]
        spread = f" ± {stdev(nets):.1f}" if len(nets) > 1 else ""
        yield (
            f"    {row['data']:8} ipc {row['ipc']:<3} {row['method']:6} {row['iterations']:>6} of {row['of']:>6}"
            f" {row['seconds']:>6} s   {fmean(nets):.1f}{spread} ({row['published'] or '-'})"
        )


def stopped(out: Path) -> None:
    """A tiny run on the digits that is stopped after two of its steps."""
    host = ddcore.Host()
    recipe = host.recipe("dm", iterations=4, overrides={"network.width": 4})
    settings = ddcore.Settings(dd.Digits(), replace(host.protocol("quick"), steps=3), ())

    def ctrl_c(stage: str, done: int, of: int) -> None:
        if stage.startswith("distilling") and done == 2:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        ddcore.run_experiment(
            ddcore.Experiment(recipe, settings), out / "cases" / "digits", checkpoint_seconds=0, progress=ctrl_c
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/reproduce", help="the folder of the study")
    parser.add_argument("--networks", type=int, default=5, help="how many are trained on a set that was stopped")
    parser.add_argument("--record", metavar="DEVICE", help="keep the rows in results/, made on DEVICE")
    parser.add_argument("--smoke", action="store_true", help="of a tiny run that is stopped first")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as tiny, ddcore.progress() as told:
        out = Path(tiny if options.smoke else options.out)
        if options.smoke:
            stopped(out)
        cases = [path.parent for path in sorted(out.glob("cases/*/recipe.toml"))]
        if not cases:
            parser.error(f"there are no runs of a study in {out}")
        rows = [reached(case, options.networks, told) for case in cases]
    print("\n".join(lines(rows)))
    if options.record:
        about = {"device": options.record, "rows": rows}
        dd.write_whole(RECORD, (json.dumps(about, indent=1) + "\n").encode())


if __name__ == "__main__":
    dd.program(main)
