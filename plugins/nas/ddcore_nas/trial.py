"""Candidates trained and measured, each result by content, so that nothing is trained twice."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from ddcore import plugin as dd
from ddcore_nas.space import Candidate

TOGETHER_BYTES = 64 * 2**20
"""Largest activation of a training step for which nets are still trained side by side; more where a GPU has room."""
OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True)
class Result:
    """What became of one candidate with one seed."""

    accuracy: float
    """In percent; 0 for one that failed, so that it is ranked last."""
    training: float
    """Seconds, its share of those of all nets that were trained beside it."""
    measuring: float
    """Seconds, likewise."""
    failed: str | None = None
    """Why there is no accuracy; None where there is one."""


@dataclass(frozen=True)
class Trial:
    """One way of training candidates: on what, how, and what they are measured on."""

    training: dd.DistilledSet | dd.Preprocessed
    measured: dd.Preprocessed
    card: dd.DataCard
    protocol: dd.Protocol
    """``steps``, batches, rates and the measure; not its networks."""
    content: str
    """A hash of what is trained and measured on."""
    device: str = "cpu"

    def key(self, candidate: Candidate, seed: int) -> str:
        """A hash of all that the result follows from, up to the speed of the machine."""
        protocol = replace(self.protocol, networks=(candidate.network,), repeats=1)
        return hashlib.sha256(f"{self.content} {self.device} {seed} {protocol}".encode()).hexdigest()

    def run(
        self, candidates: Sequence[Candidate], seeds: Sequence[int], kept: Kept, progress: dd.Progress | None = None
    ) -> dict[tuple[str, int], Result]:
        """The result of each candidate with each seed, by name and seed; those that are ``kept`` are not trained again.

        Candidates of one outline are trained side by side, all seeds of each. One that fails is reported as failed.
        """
        found: dict[tuple[str, int], Result] = {}
        todo: list[tuple[Candidate, int]] = []
        for candidate in candidates:
            for seed in seeds:
                if known := kept.results.get(self.key(candidate, seed)):
                    found[candidate.name, seed] = known
                else:
                    todo.append((candidate, seed))
        done, total = len(found), len(found) + len(todo)
        for lot in self._lots(todo):
            results = self._results(lot)
            kept.add({self.key(*net): result for net, result in zip(lot, results, strict=True)})
            found |= {(c.name, seed): result for (c, seed), result in zip(lot, results, strict=True)}
            done += len(lot)
            if progress:
                progress("training candidates", done, total)
        return found

    def _lots(self, nets: Sequence[tuple[Candidate, int]]) -> Iterator[list[tuple[Candidate, int]]]:
        by_outline: dict[object, list[tuple[Candidate, int]]] = {}
        for net in nets:
            by_outline.setdefault(outlined(net[0], self.card) or net[0].name, []).append(net)
        for lot in by_outline.values():
            size = self._together(lot[0][0])
            yield from (lot[part] for part in dd.slices(len(lot), size))

    def _together(self, candidate: Candidate) -> int:
        """Nets that are trained side by side."""
        network = ready(candidate, self.card)
        if network is None:
            return 1
        items = self._fits(network, max(TOGETHER_BYTES, self._chunk_bytes))
        return max(1, items // min(self.protocol.batch, len(self.training)))

    @property
    def _chunk_bytes(self) -> int:
        return dd.chunk_bytes(torch.device(self.device))

    def _fits(self, network: dd.Network, most: int) -> int:
        """Items whose largest activation fits ``most`` bytes."""
        return dd.chunk_size(dd.Draw(network, *network.init(dd.Streams(0)["net/0"])), self.card.shape, most)

    def _results(self, lot: Sequence[tuple[Candidate, int]]) -> list[Result]:
        """One for each net; where a lot fails, each net is tried by itself, so that the others do not fail with it."""
        start = time.perf_counter()
        try:
            return self._trained(lot)
        except Exception as error:  # a candidate's own code, or the machine's memory: anything may come out of it
            lost = (time.perf_counter() - start) / len(lot)
            if len(lot) == 1:
                return [Result(0.0, lost, 0.0, _reason(error))]
            again = [result for net in lot for result in self._results([net])]
            return [replace(result, training=result.training + lost) for result in again]

    def _trained(self, lot: Sequence[tuple[Candidate, int]]) -> list[Result]:
        start = time.perf_counter()
        plans = {candidate.name: candidate.network for candidate, _ in lot}
        built = {name: plan.ready(self.card) for name, plan in plans.items()}
        networks = [built[candidate.name] for candidate, _ in lot]
        network, device = dd.mixed(networks), torch.device(self.device)
        numbers = [seed for _, seed in lot]
        draw = dd.train(network, self.training, self.card, self.protocol, self.protocol.lr[0], numbers, 0, device)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        trained = time.perf_counter()
        chunk = max(1, self._fits(networks[0], self._chunk_bytes) // len(lot))
        (measure, *_) = self.protocol.measures
        accuracies = dd.measured(measure, draw, self.measured, chunk)
        share = (trained - start) / len(lot), (time.perf_counter() - trained) / len(lot)
        return [
            Result(accuracy, *share) if math.isfinite(accuracy) else Result(0.0, *share, "it diverged")
            for accuracy in accuracies
        ]


def _reason(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        torch.cuda.empty_cache()
        return OUT_OF_MEMORY
    return str(error).partition("\n")[0] or type(error).__name__


def ready(candidate: Candidate, card: dd.DataCard) -> dd.Network | None:
    """The network of ``candidate``; None where it cannot be had for ``card``, which its training will say."""
    try:
        return candidate.network.ready(card)
    except Exception:  # a candidate's own code
        return None


def outlined(candidate: Candidate, card: dd.DataCard) -> object | None:
    """What candidates have in common that can be trained side by side; None for one that stands alone."""
    network = ready(candidate, card)
    return None if network is None else dd.outline(network)


class Kept:
    """The results in a folder, by their keys; several processes may add to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results: dict[str, Result] = {}
        for path in sorted(folder.glob("*.json")):
            try:
                held = json.loads(path.read_bytes())
                self.results |= {key: Result(**result) for key, result in held.items()}
            except (ValueError, TypeError, AttributeError) as error:
                raise dd.DdcoreError(
                    f"{path} is damaged ({error}). Delete it: what it held is trained again."
                ) from error

    def add(self, results: dict[str, Result]) -> None:
        text = json.dumps({key: asdict(result) for key, result in results.items()})
        name = hashlib.sha256("".join(sorted(results)).encode()).hexdigest()[:16]
        dd.write_whole(self.folder / f"{name}.json", text.encode())
        self.results |= results
