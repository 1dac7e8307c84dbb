"""A stand-in for the Hugging Face hub: its addresses and headers, for the few files that a test publishes."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import pytest

COMMIT = "c" * 40
LARGE = ".safetensors"
"""Files of this ending are in Git LFS, as the hub keeps weights."""


@dataclass
class Hub:
    """Serves ``repositories``, files by name by repository."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    breaks_after: int | None = None
    """How many bytes of a large file are sent before the connection breaks, once."""
    damages: bool = False
    """Whether large files arrive with another last byte."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and Range of each."""

    def __enter__(self) -> Hub:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def __exit__(self, *raised: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def ask(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have huggingface_hub ask this one."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        hub.address + "/{repo_id}/resolve/{revision}/{filename}",
    )


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        if path.startswith("/api/models/"):
            name, verb, _, *_ = [*path.removeprefix("/api/models/").rsplit("/", 2), ""]
        else:
            name, _, file = path[1:].partition("/resolve/")
            verb, file = "resolve", file.partition("/")[2]
        files = self.hub.repositories.get(name)
        if files is None:
            return self.refuse(404, "RepoNotFound")
        if verb == "resolve":
            if name in self.hub.gated:
                return self.refuse(403, "GatedRepo")
            return self.send_file(files[file], file) if file in files else self.refuse(404, "EntryNotFound")
        return self.send_json(
            {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
            if verb == "revision"
            else [_entry(file, content) for file, content in files.items()]
        )

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, content: bytes, name: str) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        is_large = name.endswith(LARGE)
        sent = content[:-1] + bytes([content[-1] ^ 1]) if is_large and self.hub.damages else content
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{_sha256(content) if is_large else _git(content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if is_large and self.hub.breaks_after is not None:
            sent, self.hub.breaks_after = sent[: start + self.hub.breaks_after], None
            self.close_connection = True
        self.wfile.write(sent[start:])

    def log_message(self, *args: object) -> None:
        pass


def _entry(name: str, content: bytes) -> dict[str, object]:
    entry = {"type": "file", "path": name, "size": len(content), "oid": _git(content)}
    if name.endswith(LARGE):
        entry["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 100}
    return entry


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git(content: bytes) -> str:
    """As Git names a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
