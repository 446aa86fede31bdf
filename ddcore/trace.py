"""What a run's hooks did: how often each was called, how long it took itself, and what it asked of T."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ddcore.errors import BadCheckpoint, fields_at_fault
from ddcore.files import json_bytes, write_whole


@dataclass
class Calls:
    """What one plugin did at one hook."""

    plugin: str
    hook: str
    calls: int = 0
    seconds: float = 0.0
    """Its own, without those of the hooks within it."""
    asked: dict[str, int] = field(default_factory=dict)
    """How often it asked each disclosure of the gate; a fit counts as one."""


class Trace:
    """Who was called in a run, from its first sitting on."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], Calls] = {}
        self._within: list[Calls] = []
        self._since = 0.0

    def of(self, plugin: str, hook: str) -> Calls:
        return self._calls.setdefault((plugin, hook), Calls(plugin, hook))

    @property
    def asked(self) -> Counter[str]:
        """How often each disclosure was asked of the gate, by whomever."""
        return sum((Counter(calls.asked) for calls in self._calls.values()), Counter())

    def count(self, disclosure: str) -> None:
        """Note that the hook in hand asks ``disclosure``; what a run asks outside of hooks is the loop's."""
        calls = self._within[-1] if self._within else self.of("ddcore", "ddcore_distill")
        calls.asked[disclosure] = calls.asked.get(disclosure, 0) + 1

    @contextmanager
    def _in(self, calls: Calls) -> Iterator[None]:
        self._charge()
        self._within.append(calls)
        try:
            yield
        finally:
            self._charge()
            self._within.pop()

    def _charge(self) -> None:
        """Give the time since the last change to the hook in hand."""
        now = time.perf_counter()
        if self._within:
            self._within[-1].seconds += now - self._since
        self._since = now

    def function(self, plugin: str, hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, a plain implementation of ``hook``, with its calls counted."""
        calls = self.of(plugin, hook)

        def called(*arguments: Any) -> Any:
            calls.calls += 1
            with self._in(calls):
                return function(*arguments)

        return called

    def wrapper(self, plugin: str, hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same of a wrapper, whose ``yield`` is not its own time."""
        calls = self.of(plugin, hook)

        def called(*arguments: Any) -> Generator[Any, Any, Any]:
            calls.calls += 1
            inner = function(*arguments)
            try:
                with self._in(calls):
                    next(inner)
                try:
                    answer = yield
                except BaseException as error:
                    go_on = partial(inner.throw, error)
                else:
                    go_on = partial(inner.send, answer)
                with self._in(calls):
                    go_on()
            except StopIteration as end:
                return end.value
            yield  # a second time, which the manager refuses

        return called

    def write(self, path: Path) -> None:
        write_whole(path, json_bytes([asdict(calls) for calls in self._calls.values() if calls.calls or calls.asked]))

    def read(self, path: Path) -> None:
        """Go on from what an earlier sitting wrote. Raises BadCheckpoint where it is damaged."""
        for calls in read_trace(path):
            mine = self.of(calls.plugin, calls.hook)
            mine.calls += calls.calls
            mine.seconds += calls.seconds
            mine.asked = {**(Counter(mine.asked) + Counter(calls.asked))}


def read_trace(path: Path) -> list[Calls]:
    """What was written by :meth:`Trace.write`. Raises BadCheckpoint where it is damaged."""
    try:
        return TypeAdapter(list[Calls]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise BadCheckpoint(
            f"{path} is damaged ({fields_at_fault(error)}). Remove it: what hooks did is then counted from here on."
        ) from error
