"""What a worker of pytest-xdist tells of counted points, many at once.

pytest-xdist sends six messages a test; execnet packs each in Python, value by value, and wakes the other side for it.
That takes ten times as long as to count the point. So a worker keeps what it has to tell of counted points for HELD_S,
or until it waits for work, and notes in a file, which costs nothing, what it runs: should it die, the controller knows
in which test, and has run again what was not told. Without such a file, as on another host, all is told as ever.

The controller opens a packet in its main thread: what the threads that receive do takes turns with that.

Used of pytest-xdist's inside (seen in 3.8; tests/test_packets.py tells when it changes): a worker's plugin
WorkerInteractor sends events, a name and its arguments, on `channel` while it runs `item_index`, and has in `torun`
what comes after the next item. The controller gets each by its node's `process_from_remote`, which makes reports of
their data and by `notify_inproc` has the main thread call the method `worker_` and the name of its plugin DSession.
"""

from __future__ import annotations

import marshal
import mmap
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

NAME = "ocrsweep_packet"
REPORT, OVER = "testreport", "runtest_protocol_complete"
EVENTS = ("logstart", REPORT, "logfinish", OVER)  # what travels in packets
HELD_S = 0.05
NUMBER_BYTES = 8

Event = tuple[str, dict[str, Any]]


def pack(config: pytest.Config, counted: Collection[int], note: str) -> None:
    """Have this worker tell of the items of these numbers in packets, and note in a file what it runs."""
    for plugin in config.pluginmanager.get_plugins():
        if type(plugin).__name__ == "WorkerInteractor":
            plugin.channel = _Packing(plugin, counted, _file(note))


def running(note: str) -> int | None:
    """The number of the item that a worker noted last."""
    with suppress(OSError):
        noted = Path(note).read_bytes()
        if any(noted):
            return int.from_bytes(noted, "little") - 1
    return None


def _file(note: str) -> mmap.mmap:
    with open(note, "w+b") as file:
        file.truncate(NUMBER_BYTES)
        return mmap.mmap(file.fileno(), NUMBER_BYTES)


class _Packing:
    """A worker's channel that holds back what belongs into a packet."""

    def __init__(self, interactor: Any, counted: Collection[int], note: mmap.mmap) -> None:
        self._interactor, self._channel, self._counted, self._note = interactor, interactor.channel, counted, note
        self._held: list[Event] = []
        self._until = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def send(self, event: Event) -> None:
        if event[0] == "logstart":
            self._note[:] = (self._interactor.item_index + 1).to_bytes(NUMBER_BYTES, "little")
        if event[0] not in EVENTS:
            self._flush()
            self._channel.send(event)
            return
        self._held.append(event)
        if not self._waits(event[0]):
            self._flush()

    def _flush(self) -> None:
        held, self._held = self._held, []
        for message in _packed(held):
            self._channel.send(message)
        self._until = monotonic() + HELD_S

    def _waits(self, name: str) -> bool:
        if self._interactor.item_index not in self._counted:
            return False
        if name != OVER:
            return True
        with self._interactor.torun.lock() as known:
            return bool(known) and monotonic() < self._until


def _packed(events: list[Event]) -> list[Any]:
    try:  # marshal is exact, unlike JSON, and both ends are the same Python on one host
        return [(NAME, marshal.dumps(events))] if len(events) > 1 else events
    except ValueError:
        return events  # execnet says what it cannot send either


def receive(node: Any, controller: Any) -> None:
    """Have the controller, pytest-xdist's plugin, take packets too of the worker of this node."""
    process = node.process_from_remote

    def take(message: Any) -> None:
        if isinstance(message, tuple) and message[0] == NAME:
            node.notify_inproc(NAME, node=node, packed=message[1])
        else:
            process(message)

    def unpack(node: Any, packed: bytes) -> None:
        for name, arguments in marshal.loads(packed):
            if name == REPORT:
                hook = node.config.hook.pytest_report_from_serializable
                controller.worker_testreport(node=node, rep=hook(config=node.config, data=arguments["data"]))
            else:
                getattr(controller, f"worker_{name}")(node=node, **arguments)

    node.process_from_remote = take
    setattr(controller, f"worker_{NAME}", unpack)
