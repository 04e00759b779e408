"""Where a server of the OpenAI protocol is, and connections to it that somebody else can cut.

Only Python's http.client connects, which knows no proxies: a time through a proxy would be no time of the engine.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from ..errors import EngineError
from ..files.text import printable, quoted, text_of

CONNECT_S = 10
VERSION = "/v1"
EXAMPLE = "http://127.0.0.1:8000"


class Cut(Exception):
    """Whoever watches a connection cut it; `late` if it had had its time."""

    def __init__(self, late: bool) -> None:
        super().__init__()
        self.late = late


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address; `path` ends before the version: `/v1/models` comes after it."""

    scheme: str
    host: str
    port: int
    path: str
    key: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @classmethod
    def parse(cls, url: str, key: str | None = None) -> Endpoint:
        """From a URL, with or without /v1 at its end. Raises EngineError."""
        wrong = EngineError(f"{quoted(url)} is no URL of a server;", f"write it as {EXAMPLE}")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise wrong from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or not _is_plain(url):
            raise wrong
        if not _is_plain(key or ""):
            raise EngineError("the server's key has characters that no header takes;", "correct OPENAI_API_KEY")
        if parts.username is not None:
            raise EngineError(f"{quoted(parts.hostname)}: a URL with a password is not used;", "set OPENAI_API_KEY")
        path = parts.path.rstrip("/").removesuffix(VERSION)
        return cls(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), path, key)

    def headers(self) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {self.key}"} if self.key else {}),
        }

    def connection(self) -> HTTPConnection:
        """Connected. Raises EngineError."""
        if self.scheme == "http":
            connection = HTTPConnection(self.host, self.port, timeout=CONNECT_S)
        else:
            connection = HTTPSConnection(self.host, self.port, timeout=CONNECT_S)
        try:
            connection.connect()
        except (OSError, UnicodeError) as error:  # UnicodeError: a host's name that cannot be one
            raise EngineError(f"{self}: {_why(error)};", _remedy(error)) from None
        assert connection.sock is not None
        connection.sock.settimeout(None)  # from here on it is watched
        return connection

    def broken(self, error: OSError | HTTPException, after: str) -> EngineError:
        """What to say about a connection that broke."""
        what = f"{self}: closed the connection {after} ({printable(str(error)) or type(error).__name__});"
        return EngineError(what, "look into the server's log")


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _why(error: OSError | UnicodeError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refuses connections"
    if isinstance(error, socket.gaierror | UnicodeError):
        return "has no address"
    if isinstance(error, TimeoutError):
        return f"did not accept a connection within {CONNECT_S} s"
    return f"cannot be reached ({text_of(error)})"


def _remedy(error: OSError | UnicodeError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "name the file of its certificate in SSL_CERT_FILE"
    if isinstance(error, ssl.SSLError):
        return "use http://, if the server has no TLS"
    return "start the server, or correct the URL"


@dataclass(slots=True)
class WatchedConnection:
    """An open connection: until when it may stay open, and why it was cut if it was."""

    connection: HTTPConnection
    until: float
    cut: Cut | None = None

    def shut(self, late: bool) -> None:
        """Whoever reads from it or writes to it gets an error now."""
        self.cut = self.cut or Cut(late)
        if self.connection.sock is not None:
            with suppress(OSError):
                self.connection.sock.shutdown(socket.SHUT_RDWR)


class ConnectionWatch:
    """Cuts connections that are open for longer than `limit_s`, and all of them when it is asked to."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._open: list[WatchedConnection] = []
        self._stopped = False
        self._lock = threading.Lock()

    @contextmanager
    def over(self, connection: HTTPConnection) -> Iterator[None]:
        """Closes the connection at the end. Raises Cut for an error that comes of its being cut."""
        watched = WatchedConnection(connection, time.monotonic() + self.limit_s)
        with self._lock:
            self._open.append(watched)
            stopped = self._stopped
        try:
            if stopped:
                raise Cut(late=False)
            yield
            if watched.cut is not None:  # to a reader it looks like the end
                raise watched.cut
        except Exception:
            if watched.cut is not None:
                raise watched.cut from None
            raise
        finally:
            with self._lock:
                self._open.remove(watched)
            connection.close()

    def cut_late(self) -> None:
        with self._lock:
            for each in self._open:
                if time.monotonic() > each.until:
                    each.shut(late=True)

    def stop(self) -> None:
        """Cuts all, and those that are opened later."""
        with self._lock:
            self._stopped = True
            for each in self._open:
                each.shut(late=False)
