"""A small stub of the Hugging Face hub on 127.0.0.1: repositories at one commit each, served from a folder.

It implements the part of the hub's HTTP API that `huggingface_hub` and `datasets` use: information, trees, and files with
ranges. It can break a connection once in the middle of a file, so that a test sees the download resume; and it can delay
responses.
"""

import hashlib
import json
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd

from data.catalog import load_catalog
from tests.make import rows

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Repositories are folders `<root>/models/<owner>/<name>` and `<root>/datasets/<owner>/<name>`."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.break_once: dict[str, int] = {}
        """File name to bytes after which the connection is cut, the first time."""
        self.commits: dict[str, str] = {}
        """Repository to its commit, where it is not `COMMIT`."""
        self.responding = Event()
        """While cleared, requests wait for a response."""
        self.responding.set()
        self.requests: list[tuple[str, str, str | None]] = []
        """Method, path, range."""

    def commit(self, repo: str) -> str:
        """The commit of a repository."""
        return self.commits.get(repo, COMMIT)

    @property
    def url(self) -> str:
        """What `HF_ENDPOINT` is set to."""
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> "Hub":
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.responding.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Hub  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._respond(body=False)

    def do_GET(self) -> None:
        self._respond(body=True)

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

    def _respond(self, *, body: bool) -> None:
        self.server.responding.wait()
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
        elif revision not in (None, self.server.commit(repo), "main"):
            self._send(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
        elif what == "tree":
            self._send(200, _tree(folder, below, recursive="recursive=true" in self.path.lower()))
        else:
            siblings = [{"rfilename": name} for name in _names(folder)]
            about = {"id": repo, "sha": self.server.commit(repo), "siblings": siblings, "tags": [], "cardData": {}}
            counts = {"private": False, "gated": False, "disabled": False, "downloads": 0, "likes": 0}
            self._send(200, about | counts)

    def _file(self, kind: str, repo: str, revision: str, file: str, *, body: bool) -> None:
        folder = self._folder(kind, repo)
        if folder is None:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        commit = self.server.commit(repo)
        if revision not in (commit, "main"):
            self._send(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
            return
        if not (folder / file).is_file():
            self._send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        content = (folder / file).read_bytes()
        start = int(found[1]) if (found := re.match(r"bytes=(\d+)-", self.headers.get("range") or "")) else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
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


def write_tweet_eval(hub: Hub, *configs: str, per_class: int = 40) -> None:
    """A small `cardiffnlp/tweet_eval` with these configurations, at the revision that configs/datasets.yaml pins."""
    folder = hub.root / "datasets" / "cardiffnlp" / "tweet_eval"
    frame = pd.DataFrame(rows(per_class))
    labels = {"sentiment": {"negative": 0, "neutral": 1, "positive": 2}, "irony": {"negative": 1, "neutral": 0, "positive": 0}}
    described = []
    for config in configs:
        _write_splits(folder / config, frame.assign(label=frame["label"].map(labels[config])))
        described.append(f"- config_name: {config}\n  data_files:")
        described += [f"  - {{split: {split}, path: {config}/{split}-*}}" for split in ("train", "validation", "test")]
    (folder / "README.md").write_text("---\nconfigs:\n" + "\n".join(described) + "\n---\n")
    pinned = load_catalog()["tweeteval_sentiment"].hub
    assert pinned is not None and pinned.revision is not None
    hub.commits["cardiffnlp/tweet_eval"] = pinned.revision


def _write_splits(folder: Path, frame: pd.DataFrame) -> None:
    folder.mkdir(parents=True)
    for ours, theirs in (("train", "train"), ("val", "validation"), ("test", "test")):
        part = frame.loc[frame["split"] == ours, ["text", "label"]]
        part.to_parquet(folder / f"{theirs}-00000-of-00001.parquet", index=False)


def hub_environment(hub: Hub | str, home: Path) -> dict[str, str]:
    """The environment of a process that uses only this hub (or this address)."""
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    quiet = dict.fromkeys(("HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_XET"), "1")
    url = hub if isinstance(hub, str) else hub.url
    return environment | quiet | {"HF_ENDPOINT": url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _tree(folder: Path, below: str | None, *, recursive: bool) -> list[dict[str, Any]]:
    prefix = f"{below}/" if below else ""
    names = [name for name in _names(folder) if name.startswith(prefix)]
    if recursive:
        return [_entry(folder, name) for name in names]
    files = [name for name in names if "/" not in name[len(prefix) :]]
    folders = sorted({prefix + name[len(prefix) :].split("/")[0] for name in names} - set(files))
    directories = [{"type": "directory", "path": name, "oid": hashlib.sha1(name.encode()).hexdigest()} for name in folders]
    return [*directories, *(_entry(folder, name) for name in files)]


def _entry(folder: Path, name: str) -> dict[str, Any]:
    content = (folder / name).read_bytes()
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
