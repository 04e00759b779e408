"""Hosts of one machine: each in a network namespace, with a name, an address and a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PORT = 8888


def why_not() -> str | None:
    """Why there can be none here, or None."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    missing = [tool for tool in ("ip", "unshare", "hostname") if shutil.which(tool) is None]
    if missing:
        return f"no {', '.join(missing)}: network namespaces need iproute2, util-linux and hostname"
    if os.geteuid():
        return "only root may make network namespaces"
    tried = subprocess.run(["ip", "netns", "add", f"ocrs-{os.getpid()}"], capture_output=True, text=True)
    if tried.returncode:
        return f"no network namespace can be made here: {tried.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", f"ocrs-{os.getpid()}"], check=True)
    return None


@dataclass
class Host:
    """A namespace that a veth pair joins to this one, and execnet's socket server in it."""

    name: str
    address: str
    folder: Path  # where its server runs, so the default folder of its workers
    namespace: str
    link: str
    server: subprocess.Popen[bytes] | None = None

    def serve(self, **environment: str) -> None:
        """Start its server; a worker that this interpreter runs there has `environment` too."""
        temporary = self.folder.parent / f"{self.name}-tmp"  # so the per-GPU lock is the host's
        temporary.mkdir()
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        listen = [sys.executable, "-m", "execnet.script.socketserver", f"{self.address}:{PORT}"]
        self.server = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *named, *listen],
            cwd=self.folder,
            env={**os.environ, "TMPDIR": str(temporary), **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(100):
            try:
                socket.create_connection((self.address, PORT), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError(f"{self.name} does not listen")

    def kill(self) -> None:
        """Every process in it, at once."""
        listed = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=True)
        for pid in map(int, listed.stdout.split()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self.server:
            self.server.wait()

    def cut(self) -> None:
        """Its network is gone without a word; its processes go on."""
        subprocess.run(["ip", "link", "set", self.link, "down"], check=True)


@contextmanager
def hosts(folders: Mapping[str, Path]) -> Iterator[dict[str, Host]]:
    """A host for each name, joined to this machine by a network of its own; they are gone after the block."""
    subnet = 16 + os.getpid() % 200  # another process of the tests may do so too
    with ExitStack() as ended:
        made = {}
        for number, (name, folder) in enumerate(folders.items(), 1):
            namespace, link = f"ocrs{os.getpid()}-{number}", f"ocrs{os.getpid() % 10**6}-{number}"
            host = Host(name, f"10.{subnet}.{number}.2", folder, namespace, link)
            inside = f"{link}i"
            _ip("netns", "add", namespace)
            ended.callback(_ip, "netns", "delete", namespace)
            ended.callback(host.kill)
            _ip("link", "add", link, "type", "veth", "peer", "name", inside)
            ended.callback(_ip, "link", "delete", link)  # at once; with its namespace it goes some time later
            _ip("link", "set", inside, "netns", namespace)
            _ip("address", "add", f"10.{subnet}.{number}.1/24", "dev", link)
            _ip("link", "set", link, "up")
            for words in (["address", "add", f"{host.address}/24", "dev", inside], *_up(inside, "lo")):
                _ip("-netns", namespace, *words)
            made[name] = host
        yield made


def _up(*links: str) -> list[list[str]]:
    return [["link", "set", link, "up"] for link in links]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
