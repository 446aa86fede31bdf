"""The folder of an experiment: its files, records and checkpoints."""

from __future__ import annotations

import json
import os
import shlex
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from ddcore.artefact import DistilledSet
from ddcore.catalogue import Catalogue
from ddcore.checkpoint import read_checkpoint, write_checkpoint
from ddcore.errors import BadCheckpoint, RecipeRefused
from ddcore.experiment.interrupts import Interrupts
from ddcore.experiment.plan import Experiment
from ddcore.files import append_line, flush, held, write_whole
from ddcore.gate.record import TOLD_STAYS_TOLD, SpendRecord
from ddcore.packing import read_toml
from ddcore.ranks import ranks
from ddcore.run import Run
from ddcore.types import Progress

CHECKPOINT_SECONDS = 30.0


class Folder:
    """Where an experiment leaves its files.

    ``recipe.toml`` (the experiment), ``checkpoint/run.pt``, ``records.jsonl`` (one line per step),
    ``trace.json`` (who was called, and what was asked of T), ``distilled.safetensors``, ``images.png``,
    ``metrics.json``, ``report.md``; for a gate that guards, ``spent.jsonl`` (what it has told).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.recipe = self.path / "recipe.toml"
        self.records = self.path / "records.jsonl"
        self.state = self.path / "checkpoint" / "run.pt"
        self.spent = self.path / "spent.jsonl"
        self.trace = self.path / "trace.json"
        self.distilled = self.path / "distilled.safetensors"
        self.images = self.path / "images.png"
        self.metrics = self.path / "metrics.json"
        self.report = self.path / "report.md"

    def held(self) -> AbstractContextManager[None]:
        """Holds it for this process alone, as :func:`ddcore.files.held` does. Raises FolderHeld where another does."""
        return held(self.path)

    @property
    def resuming(self) -> str:
        """The command that goes on here."""
        return f"ddcore resume {shlex.quote(str(self.path))}"

    def create(self, experiment: Experiment, run: Run) -> None:
        """Begin the folder of ``run``; where its gate guards, all that it will know of its noise is kept first.

        Raises:
            RecipeRefused: another experiment lies there already, or a private run has told something there.
        """
        if self.recipe.exists():
            raise RecipeRefused(
                f"{self.path} already holds an experiment. Continue it with `{self.resuming}`,"
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
        self.trace.unlink(missing_ok=True)
        self.spent.unlink(missing_ok=True)
        with suppress(OSError):
            self.state.parent.rmdir()

    def experiment(self, catalogue: Catalogue) -> Experiment:
        """Raises BadCheckpoint where no experiment lies there."""
        if not self.recipe.exists():
            raise BadCheckpoint(f"{self.path} holds no experiment (there is no {self.recipe.name} in it).")
        return Experiment.from_toml(read_toml(self.recipe), catalogue, str(self.recipe))

    def checkpoint(self, run: Run) -> None:
        """Keep all that ``run`` needs to go on from here; the records of its steps come first.

        Under a guarding gate only the owner may read it: it holds the state of the noise.
        """
        if self.records.exists():
            flush(self.records)
        write_checkpoint(self.state, run.state_dict(), private=run.recipe.gate.guards)
        run.trace.write(self.trace)

    def restore(self, run: Run) -> None:
        """Bring ``run`` to the last checkpoint, if there is one, and the records with it, which the first process alone
        may change.

        Raises:
            BadCheckpoint: it is damaged, belongs to another recipe or other data, or lacks records of its steps; where
                the gate guards, also if it or the record of what was told is missing.
        """
        if run.record is not None:
            run.record.read()
        if not self.state.exists():
            if run.record is not None:
                raise BadCheckpoint(f"{self.state} is missing. {TOLD_STAYS_TOLD}")
            if ranks().first:
                self.records.unlink(missing_ok=True)
            return
        try:
            state = read_checkpoint(self.state)
        except BadCheckpoint as error:
            if run.record is not None:
                error.add_note(TOLD_STAYS_TOLD)
            raise
        run.load_state_dict(state)
        if self.trace.exists():
            run.trace.read(self.trace)
        if not ranks().first:
            return
        lines = self.records.read_bytes().splitlines()[: run.step] if self.records.exists() else []
        if [_step_of(line) for line in lines] != list(range(1, run.step + 1)):
            raise BadCheckpoint(
                f"{self.records} does not hold the {run.step} steps that the checkpoint has done, one in a line. Put it"
                " back as the run left it."
            )
        write_whole(self.records, b"".join(line + b"\n" for line in lines))


def _step_of(line: bytes) -> Any:
    """The number of the step that ``line`` tells of, None where it tells of none."""
    try:
        return json.loads(line)["step"]
    except (ValueError, TypeError, KeyError):
        return None


class Recorder:
    """Writes a run's records and checkpoints as it goes, and answers interrupts once they are written.

    Of several processes that share the run the first writes, and what interrupts one of them has it do so.
    """

    def __init__(self, folder: Folder, every: float, progress: Progress | None) -> None:
        """Raises RecipeRefused where ``every``, the seconds between two checkpoints, is below zero or no number."""
        if not every >= 0:
            raise RecipeRefused(f"checkpoint_seconds = {every}: it must be at least 0.")
        self._folder = folder
        self._every = every
        self._progress = progress
        self._last = time.monotonic()
        self._interrupts = Interrupts()
        self.saved = False
        """The distilled set lies in the folder."""

    def watching(self, run: Run) -> AbstractContextManager[None]:
        """While ``run`` is in its steps, interrupts wait until it can go on from where it stands."""
        return self._interrupts.held_back(lambda: run.started and run.step < run.recipe.iterations)

    def __call__(self, run: Run, record: dict[str, Any]) -> None:
        if ranks().first:
            append_line(self._folder.records, json.dumps(record))
        waiting = self._keep(run, run.step == run.recipe.iterations)
        if self._progress:
            self._progress(f"distilling, loss {record['loss']:.4g}", run.step, run.recipe.iterations)
        if waiting:
            self._interrupts.answer()

    def paused(self, run: Run) -> None:
        """In mid-step, where the run could go on from."""
        if self._keep(run):
            self._interrupts.answer()

    def distilled(self, distilled: DistilledSet) -> None:
        """Keep what the loop has made, before a plugin's wrapper can fail."""
        if ranks().first:
            distilled.save(self._folder.distilled)
        self.saved = True

    def _keep(self, run: Run, now: bool = False) -> bool:
        """Keep the run if it is time; answers whether an interrupt waited, for which it was: a later one waits on."""
        waiting = ranks().any(self._interrupts.waiting)
        if ranks().first and (now or waiting or time.monotonic() - self._last >= self._every):
            self._folder.checkpoint(run)
            self._last = time.monotonic()
        return waiting
