"""Where clients run: in this process, or side by side under Flower's simulation engine on Ray; and what they cost."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Literal, TypeVar
from uuid import uuid4

import torch
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from ddcore import plugin as dd
from ddcore_federated.flower.records import count_bytes, signer
from ddcore_federated.flower.strategy import quiet

Engine = Literal["process", "ray"]
CRASHED = 8
"""Flower's code of an error reply for a client app that raised."""

PULL_EVERY = 0.1
"""Seconds between looks for replies."""

STOPPING = 60.0
"""Seconds that clients in this process have to end when they are told to."""

T = TypeVar("T")


class Wrapping(Grid):
    """Another grid, as it is."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def set_run(self, run: Run) -> None:
        self.grid.set_run(run)

    @property
    def run(self) -> Run:
        return self.grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return self.grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self.grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self.grid.pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.grid.send_and_receive(messages, timeout=timeout)


class Among(Wrapping):
    """Another grid, of which only ``nodes`` are seen."""

    def __init__(self, grid: Grid, nodes: Iterable[int]) -> None:
        super().__init__(grid)
        self.nodes = list(nodes)

    def get_node_ids(self) -> Iterable[int]:
        return self.nodes


class Metered(Wrapping):
    """Another grid, with a count of the bytes that its messages carry, and replies in the order of the clients.

    Flower counts the payload: each array with its npy header, and the names. ``progress`` is told of replies as they
    come.
    """

    def __init__(self, grid: Grid, progress: dd.Progress | None = None) -> None:
        super().__init__(grid)
        self.progress = progress
        self.up, self.down = 0, 0
        """Bytes of replies, and of messages to clients."""

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self.grid.push_messages(self._sent(messages))

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._received(self.grid.pull_messages(message_ids))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        if self.progress is None or isinstance(self.grid, InProcess):
            return self._received(self.grid.send_and_receive(self._sent(messages), timeout=timeout))
        begun, replies = time.monotonic(), list[Message]()
        open_names = set(self.push_messages(messages))
        of = len(open_names)
        while open_names and (timeout is None or time.monotonic() < begun + timeout):
            came = list(self.grid.pull_messages(open_names))
            open_names -= {reply.metadata.reply_to_message_id for reply in came}
            replies += came
            if came:
                self.progress("clients", of - len(open_names), of)
            time.sleep(PULL_EVERY)
        return self._received(replies)

    def _sent(self, messages: Iterable[Message]) -> list[Message]:
        messages = list(messages)
        self.down += sum(count_bytes(message.content) for message in messages)
        return messages

    def _received(self, replies: Iterable[Message]) -> list[Message]:
        replies = sorted(replies, key=lambda reply: (signer(reply), reply.metadata.src_node_id))
        self.up += sum(count_bytes(reply.content) for reply in replies if not reply.has_error())
        return replies


class Ended(BaseException):
    """Goes up through a client's own code where nobody waits for it any more."""


def go_on(*_: object) -> None:
    """Called between a client's steps: raises Ended where it works in this process and is told to end."""
    work = threading.current_thread()
    if isinstance(work, Work) and work.to_end.is_set():
        raise Ended


class InProcess(Grid):
    """A grid whose nodes are contexts in this process: their client app is called with each message, one by one.

    Each has the whole timeout, as if they worked side by side. A client that raises is answered for with Flower's error
    reply; one that takes longer than the timeout is not waited for, and what it answers then goes nowhere. Its next
    message waits until it has done with the one before.
    """

    def __init__(self, app: ClientApp, clients: int, progress: dd.Progress | None = None) -> None:
        self.app, self.progress = app, progress
        self.contexts = {
            i + 1: Context(0, i + 1, {"partition-id": i, "num-partitions": clients}, RecordDict(), {})
            for i in range(clients)
        }
        self.replies: dict[str, Message] = {}
        self._at_work: dict[int, Work] = {}
        """By node, what worked on its last message, and may still do so."""

    def set_run(self, run: Run) -> None:
        raise NotImplementedError("A grid in process has one run.")

    @property
    def run(self) -> Run:
        return Run.create_empty(run_id=TaskIdentity.run_id)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._pushed(list(messages), None)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self.replies.pop(name) for name in list(message_ids) if name in self.replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.pull_messages(self._pushed(list(messages), timeout))

    def _pushed(self, messages: list[Message], timeout: float | None) -> list[str]:
        names = []
        for done, message in enumerate(messages, 1):
            names.append(str(uuid4()))
            message.metadata.__dict__["_message_id"] = names[-1]
            if reply := self._answer(message, timeout):
                self.replies[names[-1]] = reply
            if self.progress:
                self.progress("clients", done, len(messages))
        return names

    def _answer(self, message: Message, timeout: float | None) -> Message | None:
        """None where there is no answer within the ``timeout``."""
        node, ends = message.metadata.dst_node_id, math.inf if timeout is None else time.monotonic() + timeout
        if (before := self._at_work.get(node)) and not before.ended(ends):
            return None
        work = self._at_work[node] = Work(lambda: self.app(message, self.contexts[node]), message)
        work.start()
        return work.answer if work.ended(ends) else None

    def close(self) -> None:
        """End what is still at work, between two of its steps: a process that ends with such threads may not do so
        quietly."""
        ends = time.monotonic() + STOPPING
        at_work = [work for work in self._at_work.values() if work.ident is not None]
        for work in at_work:
            work.to_end.set()
        for work in at_work:
            work.ended(ends)


class Work(threading.Thread):
    """A thread in which a client app answers one message."""

    def __init__(self, app: Callable[[], Message], message: Message) -> None:
        super().__init__(daemon=True)
        self.app, self.message = app, message
        self.answer: Message | None = None
        self.to_end = threading.Event()
        self._done = threading.Event()  # join marks a thread as stopped where an interrupt meets it

    def run(self) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as a client on Ray has: the same sums, in the same order
        try:
            self.answer = self.app()
        except Ended:
            return
        except Exception as error:  # a client app's own code: anything may come out of it
            reason = f"{type(error).__name__}: {error}"
            self.answer = Message(Error(CRASHED, reason), reply_to=self.message)
        finally:
            torch.set_num_threads(threads)
            self._done.set()

    def ended(self, ends: float) -> bool:
        """Waits until then; whether it is done."""
        return self._done.wait(min(threading.TIMEOUT_MAX, max(0.0, ends - time.monotonic())))


def simulate(
    server: Callable[[Grid], T],
    app: ClientApp,
    clients: int,
    engine: Engine = "process",
    *,
    cores: int | None = None,
    progress: dd.Progress | None = None,
) -> T:
    """What ``server`` answers, handed a grid of ``clients`` nodes that run ``app``.

    ``process``: one by one, here. ``ray``: under Flower's simulation engine, a client a core, on ``cores`` of them
    (None: all); Ray listens on loopback alone, its files lie in a folder of their own, which goes when it ends, and its
    processes end with this one, however that ends.
    """
    with quiet():
        if engine == "process":
            TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1
            with closing(InProcess(app, clients, progress)) as grid:
                return server(grid)
        return _on_ray(server, app, clients, min(clients, cores or os.cpu_count() or 1))


def _on_ray(server: Callable[[Grid], T], app: ClientApp, clients: int, cores: int) -> T:
    from flwr.simulation import run_simulation

    answers: list[T] = []
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        answers.append(server(grid))

    with dd.ray_at_home(cores) as arguments:
        backend = {"init_args": arguments, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
        run_simulation(server_app, app, clients, backend_config=backend)
    return answers[0]
