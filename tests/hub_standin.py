"""A small stand-in for the Hugging Face hub on 127.0.0.1: repositories at one commit, served from a folder.

It speaks as much of the hub's HTTP as `huggingface_hub` and `datasets` ask for: information, trees, and files with ranges. It can
break a connection in the middle of a file, once, so that a test sees the download go on from there.
"""

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Repositories are folders `<root>/models/<owner>/<name>` and `<root>/datasets/<owner>/<name>`."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.break_once: dict[str, int] = {}
        """File name to bytes after which the connection is cut, the first time."""
        self.requests: list[tuple[str, str, str | None]] = []
        """Method, path, range."""

    @property
    def url(self) -> str:
        """What `HF_ENDPOINT` is set to."""
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> "Hub":
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Hub  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        sent = self.rfile.read(length)
        path = urlsplit(self.path).path
        self.server.requests.append(("POST", path, None))
        found = re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/paths-info/([^/]+)", path)
        if not found or not (folder := self._folder(found[1], found[2])):
            self._send(404, {"error": "Not found"})
            return
        wanted = json.loads(sent).get("paths", []) if sent[:1] == b"{" else re.findall(r"paths=([^&]+)", sent.decode())
        self._send(200, [_entry(folder, path) for path in map(unquote, wanted) if (folder / path).is_file()])

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path, self.headers.get("range")))
        if found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+)(?:/(.*))?)?", path):
            self._information(*found.groups())
        elif found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            kind, repo, revision, file = found.groups()
            self._file("datasets" if kind else "models", repo, revision, file, body=body)
        else:
            self._send(404, {"error": "Not found"})

    def _folder(self, kind: str, repo: str) -> Path | None:
        folder = self.server.root / kind / repo
        return folder if folder.is_dir() else None

    def _information(self, kind: str, repo: str, what: str | None, revision: str | None, below: str | None) -> None:
        folder = self._folder(kind, repo)
        if folder is None:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif revision not in (None, COMMIT, "main"):
            self._send(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
        elif what == "tree":
            prefix = f"{below}/" if below else ""
            self._send(200, [_entry(folder, name) for name in _names(folder) if name.startswith(prefix)])
        else:
            siblings = [{"rfilename": name} for name in _names(folder)]
            self._send(200, {"id": repo, "sha": COMMIT, "private": False, "gated": False, "disabled": False, "downloads": 0,
                             "likes": 0, "tags": [], "siblings": siblings, "cardData": {}})  # fmt: skip

    def _file(self, kind: str, repo: str, revision: str, file: str, *, body: bool) -> None:
        folder = self._folder(kind, repo)
        if folder is None:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        if revision not in (COMMIT, "main"):
            self._send(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
            return
        if not (folder / file).is_file():
            self._send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        content = (folder / file).read_bytes()
        start = int(found[1]) if (found := re.match(r"bytes=(\d+)-", self.headers.get("range") or "")) else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if not body:
            return
        cut = self.server.break_once.pop(Path(file).name, None)
        if cut is not None:
            self.wfile.write(content[start : start + cut])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _entry(folder: Path, name: str) -> dict[str, Any]:
    content = (folder / name).read_bytes()
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
