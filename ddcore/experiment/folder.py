"""The folder of an experiment: its files, records and checkpoints."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ddcore.artefact import DistilledSet
from ddcore.catalogue import Catalogue
from ddcore.errors import BadCheckpoint, RecipeRefused
from ddcore.experiment.plan import Experiment
from ddcore.files import replaced_whole, write_whole
from ddcore.gate.record import TOLD_STAYS_TOLD, SpendRecord
from ddcore.run import Run
from ddcore.types import Progress

CHECKPOINT_SECONDS = 30.0


class Folder:
    """Where an experiment leaves its files.

    ``recipe.toml`` (the experiment), ``checkpoint/run.pt``, ``records.jsonl`` (one line per step),
    ``distilled.safetensors``, ``images.png``, ``metrics.json``, ``report.md``; for a gate that guards, ``spent.jsonl``
    (what it has told).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.recipe = self.path / "recipe.toml"
        self.records = self.path / "records.jsonl"
        self.state = self.path / "checkpoint" / "run.pt"
        self.spent = self.path / "spent.jsonl"
        self.distilled = self.path / "distilled.safetensors"
        self.images = self.path / "images.png"
        self.metrics = self.path / "metrics.json"
        self.report = self.path / "report.md"

    def create(self, experiment: Experiment, run: Run) -> None:
        """Begin the folder of ``run``; where its gate guards, all that it will know of its noise is kept first.

        Raises:
            RecipeRefused: another experiment lies there already, or a private run has told something there.
        """
        if self.recipe.exists():
            raise RecipeRefused(
                f"{self.path} already holds an experiment. Continue it with `ddcore resume {self.path}`,"
                " or name another folder with --out."
            )
        if SpendRecord(self.spent).holds_requests:
            raise RecipeRefused(f"{self.spent} is the record of a private run. {TOLD_STAYS_TOLD}")
        if run.record is not None:
            run.record.begin()
            self.checkpoint(run)
        write_whole(self.recipe, experiment.to_toml().encode())

    def discard(self) -> None:
        """Take back what :meth:`create` did, where nothing has come after it."""
        self.recipe.unlink()
        self.state.unlink(missing_ok=True)
        self.spent.unlink(missing_ok=True)
        for folder in (self.state.parent, self.path):
            with suppress(OSError):
                folder.rmdir()

    def experiment(self, catalogue: Catalogue) -> Experiment:
        """Raises BadCheckpoint where no experiment lies there."""
        if not self.recipe.exists():
            raise BadCheckpoint(f"{self.path} holds no experiment (there is no {self.recipe.name} in it).")
        return Experiment.from_toml(self.recipe.read_text(), catalogue, str(self.recipe))

    def checkpoint(self, run: Run) -> None:
        """Keep all that ``run`` needs to go on from here."""
        replaced_whole(self.state, lambda path: torch.save(run.state_dict(), path))

    def restore(self, run: Run) -> None:
        """Bring ``run`` to the last checkpoint, if there is one, and the records with it.

        Raises:
            BadCheckpoint: it is damaged, or belongs to another recipe or other data; where the gate guards, also if it
                or the record of what was told is missing.
        """
        if run.record is not None:
            run.record.read()
        if not self.state.exists():
            if run.record is not None:
                raise BadCheckpoint(f"{self.state} is missing. {TOLD_STAYS_TOLD}")
            self.records.unlink(missing_ok=True)
            return
        try:
            state = torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged file makes torch say
            remedy = "Delete it to start anew." if run.record is None else TOLD_STAYS_TOLD
            raise BadCheckpoint(f"{self.state} is damaged ({type(error).__name__}). {remedy}") from error
        run.load_state_dict(state)
        lines = self.records.read_text().splitlines()[: run.step] if self.records.exists() else []
        write_whole(self.records, "".join(f"{line}\n" for line in lines).encode())


class Recorder:
    """Writes a run's records and checkpoints as it goes."""

    def __init__(self, folder: Folder, every: float, progress: Progress | None) -> None:
        self._folder = folder
        self._every = every
        self._progress = progress
        self._last = time.monotonic()
        self.saved = False
        """The distilled set lies in the folder."""

    def __call__(self, run: Run, record: dict[str, Any]) -> None:
        with self._folder.records.open("a") as file:
            file.write(json.dumps(record) + "\n")
        self._keep(run, run.step == run.recipe.iterations)
        if self._progress:
            self._progress(f"distilling, loss {record['loss']:.4g}", run.step, run.recipe.iterations)

    def paused(self, run: Run) -> None:
        """In mid-step, where the run could go on from."""
        self._keep(run)

    def distilled(self, distilled: DistilledSet) -> None:
        """Keep what the loop has made, before a plugin's wrapper can fail."""
        distilled.save(self._folder.distilled)
        self.saved = True

    def _keep(self, run: Run, now: bool = False) -> None:
        if now or time.monotonic() - self._last >= self._every:
            self._folder.checkpoint(run)
            self._last = time.monotonic()
