"""A web server on the loopback interface for the tests of downloads, and the scripts that download."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

from conftest import ROOT

BODY = bytes(range(256)) * 40
NEVER = threading.Event()


@dataclass
class Page:
    """What the server answers: `sent` and `length` lie about the body, `place` about the range."""

    body: bytes = BODY
    ranges: bool = True
    sent: int | None = None
    length: int | None = None
    place: str | None = None
    status: int = 200
    wait: float = 0
    headers: dict[str, str] = field(default_factory=dict)


class Site:
    """The server; `asked` holds (path, Range) of the requests."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str | None]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, self.headers["Range"]))
                answer(self, site.pages.get(self.path, Page(status=404)))

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


def answer(handler: BaseHTTPRequestHandler, page: Page) -> None:
    start = int(handler.headers["Range"][6:-1]) if page.ranges and handler.headers["Range"] else 0
    body, status = page.body[start:], page.status
    if start and status == 200:
        status = 206 if start < len(page.body) else 416
    handler.send_response(status)
    if status == 206:
        place = f"{start}-{len(page.body) - 1}/{len(page.body)}"
        handler.send_header("Content-Range", f"bytes {page.place or place}")
    handler.send_header("Content-Length", str(len(body) if page.length is None else page.length))
    for name, value in page.headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    NEVER.wait(page.wait)
    with contextlib.suppress(ConnectionError):
        handler.wfile.write(body[: page.sent])


@contextlib.contextmanager
def serving() -> Iterator[Site]:
    site = Site()
    threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield site
    site.server.shutdown()
    site.server.server_close()


def load_script(folder: str) -> ModuleType:
    """Return FOLDER/download.py: two scripts have that name, so neither can be imported by it."""
    spec = importlib.util.spec_from_file_location(f"{folder}_download", ROOT / folder / "download.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(folder: Path) -> list[str]:
    """Return the names of everything in and below a folder."""
    return sorted(path.name for path in folder.rglob("*"))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
