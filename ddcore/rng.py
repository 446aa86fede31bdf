"""Named random streams: one seed, one generator a name, none of them the global one."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from ddcore.ranks import ranks

_WORDS = slice(24, 24 + 8 * 624)
"""Where the state of a CPU generator, as bytes, holds the 624 words of the Mersenne twister, each in 8 bytes."""


def _seed_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


class Streams:
    """Random generators by name, all made from one seed.

    ``streams["real"]`` is the same generator each time and depends on the seed and the name alone, so a
    draw from one stream never moves another. Secret streams, ``streams.secret("noise")``, come from 256 bits of the
    operating system's entropy, not from a seed that could be guessed; those bits and the streams' states may enter a
    local checkpoint, never an artefact.

    Generators live on the CPU: the same seed gives the same numbers whatever the device.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, Generator] = {}
        self._secret: dict[str, Generator] = {}
        self._root = b""

    def __getitem__(self, name: str) -> Generator:
        if name not in self._streams:
            self._streams[name] = Generator().manual_seed(_seed_of(f"{self.seed}/{name}"))
        return self._streams[name]

    def seeded(self) -> dict[str, Tensor]:
        """Where the streams stand that come from the seed, for :meth:`go_back`."""
        return {name: stream.get_state() for name, stream in self._streams.items()}

    def go_back(self, states: dict[str, Tensor]) -> None:
        """Let the streams that come from the seed draw again what they drew since :meth:`seeded`."""
        for name in self._streams.keys() | states.keys():
            if name in states:
                self[name].set_state(states[name])
            else:
                self[name].manual_seed(_seed_of(f"{self.seed}/{name}"))

    def rewind(self) -> None:
        """Let every stream begin anew; the secret ones go on."""
        self._streams.clear()

    def secret(self, name: str) -> Generator:
        if not self._root:
            self.renew_secrets()
        if name not in self._secret:
            self._secret[name] = Generator()
            self._secret[name].set_state(_unguessable(self._root, name))
        return self._secret[name]

    def renew_secrets(self) -> None:
        """Let every secret stream, those to come included, begin anew from fresh entropy, the same in all processes
        that share a run."""
        self._root = ranks().told(os.urandom(32))
        for name, stream in self._secret.items():
            stream.set_state(_unguessable(self._root, name))

    def state_dict(self) -> dict[str, Any]:
        secret = {name: stream.get_state() for name, stream in self._secret.items()}
        return {"streams": self.seeded(), "secret": secret, "root": self._root.hex()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.go_back(state["streams"])
        self._root = bytes.fromhex(state["root"])
        for name in self._secret.keys() | state["secret"].keys():
            there = state["secret"].get(name)
            self.secret(name).set_state(_unguessable(self._root, name) if there is None else there)


def _unguessable(root: bytes, name: str) -> Tensor:
    """The state of a generator, all of it made from ``root``: torch's own seeds fill only 32 bits of it."""
    generator = Generator()
    state = generator.get_state()
    words = state.numpy()[_WORDS].view(np.uint64)
    words[:] = np.frombuffer(hashlib.shake_256(root + name.encode()).digest(4 * len(words)), np.uint32)
    generator.set_state(state)
    if not torch.equal(generator.get_state(), state):
        raise RuntimeError("This torch lays out the state of its generators in another way; secret streams need it.")
    return state


@contextmanager
def forked(generator: Generator) -> Iterator[None]:
    """Let code that knows only the global generator (module initialisers, dropout) draw from ``generator``.

    The global generator is left as it was found.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield
