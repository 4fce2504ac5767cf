"""A hub of our own on 127.0.0.1 that serves folders as models, as the Hugging Face hub does."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from huggingface_hub import constants, file_download
from huggingface_hub.utils import _http

NOBODY = "http://127.0.0.1:9"  # nobody listens there
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class LocalHub:
    endpoint: str = ""
    models: dict[str, Path] = field(default_factory=dict)  # OWNER/NAME -> folder, at COMMIT
    data_sets: dict[str, Path] = field(default_factory=dict)  # the same
    asked: list[str] = field(default_factory=list)  # every path
    cut: bool = False  # connections end in the middle of a file of weights

    def ref(self, repo: str) -> str:
        return f"hub:{repo}@{COMMIT}"

    def listed(self, folder: Path) -> list[dict[str, Any]]:
        return [
            {
                "type": "file",
                "path": path.relative_to(folder).as_posix(),
                "size": path.stat().st_size,
                "oid": "0" * 40,
            }
            | ({"lfs": self._lfs(path)} if path.suffix == ".safetensors" else {})
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]

    def _lfs(self, path: Path) -> dict[str, Any]:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"oid": digest, "size": path.stat().st_size, "pointerSize": 134}


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, hub: LocalHub, *args: Any) -> None:
        self.hub = hub
        super().__init__(*args)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(path)
        parts = path.strip("/").removeprefix("api/").removeprefix("models/").split("/")
        served = self.hub.models
        if parts[0] == "datasets":
            served, parts = self.hub.data_sets, parts[1:]
        repo, (verb, revision) = "/".join(parts[:2]), parts[2:4]
        folder = served.get(repo)
        if folder is None:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif revision != COMMIT:
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif verb == "tree":
            self._answer(200, json.dumps(self.hub.listed(folder)).encode(), {})
        else:
            content = folder.joinpath(*parts[4:]).read_bytes()
            etag = hashlib.sha256(content).hexdigest()
            self._answer(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def _body(self, content: bytes) -> bytes:
        if self.hub.cut and self.path.endswith(".safetensors"):
            self.close_connection = True
            return content[: len(content) // 2]
        return content

    do_HEAD = do_GET

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(self._body(content))

    def log_message(self, *_args: Any) -> None:
        pass


def use_hub_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does to the hub's client when it is imported; and it repeats at once."""
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    without_waits = SimpleNamespace(**vars(time) | {"sleep": lambda _seconds: None})
    for client in (_http, file_download):
        monkeypatch.setattr(client, "time", without_waits)


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    hub = LocalHub()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, hub)) as server:
        hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, args=(0.01,))  # looks so often for the end
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
