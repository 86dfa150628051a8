"""A server on this machine that plays the API of the Hugging Face Hub, for huggingface_hub."""

import base64
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

TOKEN = "hf_token-of-the-tests"
LARGE = 50_000
"""Bytes from which a file goes to the large storage, as .parquet files always do."""
FRONT = re.compile(r"^---\n(.*?)\n---(\n|$)", re.DOTALL)


@dataclass
class Repository:
    """Content by path, of every commit."""

    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{}])
    messages: list[str] = field(default_factory=lambda: ["initial commit"])
    pull_requests: list[dict[str, bytes]] = field(default_factory=list)

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1]

    def sha(self, index: int = -1) -> str:
        return hashlib.sha1(str(index % len(self.commits)).encode()).hexdigest()

    def at(self, revision: str) -> dict[str, bytes] | None:
        if revision == "main":
            return self.files
        found = {self.sha(i): commit for i, commit in enumerate(self.commits)}
        return found.get(revision)


class Hub(http.server.ThreadingHTTPServer):
    """The server; ``repositories`` by (kind, id), where the kind is "model" or "dataset"."""

    daemon_threads = True

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.before_commit: Any = None  # called with a repository that is about to change
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, repo: str, files: dict[str, bytes], kind: str = "dataset") -> Repository:
        made = self.repositories[kind, repo] = Repository([files])
        return made


def yaml_errors(content: str, kind: str) -> list[str]:
    """Problems of a card's metadata that the Hub refuses."""
    front = FRONT.match(content)
    if front is None:
        return ["no metadata"]
    try:
        data = yaml.safe_load(front.group(1)) or {}
    except yaml.YAMLError as error:
        return [str(error).replace("\n", " ")]
    if not isinstance(data, dict):
        return ["metadata is no object"]
    if kind == "dataset":
        return []
    errors = []
    if data.get("license", "mit") != str(data.get("license", "mit")).lower():
        errors.append('"license" must be one of the known ids')
    for model in data.get("model-index", []):
        if not isinstance(model.get("name"), str):
            errors.append('"model-index[0].name" is required')
        for one in model.get("results", []):
            errors += [
                f'"model-index[0].results.{table}.{key}" is required'
                for table, keys in (("task", ["type"]), ("dataset", ["type", "name"]))
                for key in keys
                if not isinstance(one.get(table, {}).get(key), str)
            ]
            errors += [
                '"metrics.type" and "metrics.value" are required'
                for metric in one.get("metrics", [{}])
                if not isinstance(metric.get("type"), str) or "value" not in metric
            ]
    return errors


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def answer(self, status: int, data: Any = None, **headers: str) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self, code: str) -> None:
        self.answer(404, {"error": code}, X_Error_Code=code)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def find(self, kind: str, repo: str, revision: str = "main") -> Repository | None:
        found = self.server.repositories.get((kind, repo))
        if found is None:
            self.missing("RepoNotFound")
        elif found.at(revision) is None:
            self.missing("RevisionNotFound")
        else:
            return found
        return None

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        api = re.fullmatch(
            r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/(?:revision|(tree))/([^/]+))?", path
        )
        file = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if api:
            kind, repo, tree, revision = api.groups()
            if found := self.find(kind, repo, revision or "main"):
                self.describe(repo, found, revision or "main", bool(tree))
        elif file:
            kind = "dataset" if file.group(1) else "model"
            if found := self.find(kind, file.group(2), file.group(3)):
                self.send_file(found, file.group(3), file.group(4))
        else:
            self.answer(404, {"error": "no such page"})

    do_HEAD = do_GET

    def describe(self, repo: str, found: Repository, revision: str, tree: bool) -> None:
        files = found.at(revision) or {}
        if tree:
            rows = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(data),
                    "oid": hashlib.sha1(data).hexdigest(),
                }
                for name, data in files.items()
            ]
            self.answer(200, rows)
            return
        sha = revision if revision != "main" else found.sha()
        sized = "blobs=" in urlsplit(self.path).query
        siblings = [
            {"rfilename": name} | ({"size": len(data)} if sized else {})
            for name, data in files.items()
        ]
        self.answer(200, {"id": repo, "sha": sha, "siblings": siblings, "tags": []})

    def send_file(self, found: Repository, revision: str, name: str) -> None:
        data = (found.at(revision) or {}).get(name)
        if data is None:
            self.missing("EntryNotFound")
            return
        sha = revision if revision != "main" else found.sha()
        self.answer(200, data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=sha)

    def do_PUT(self) -> None:
        oid, data = self.path.rpartition("/")[2], self.body()
        self.server.requests.append(f"PUT {self.path}")
        right = hashlib.sha256(data).hexdigest() == oid
        if right:
            self.server.large[oid] = data
        self.answer(200 if right else 400, {})

    def do_POST(self) -> None:
        path, body = unquote(urlsplit(self.path).path), self.body()
        self.server.requests.append(f"POST {path}")
        if path == "/api/validate-yaml":
            sent = json.loads(body)
            errors = [{"message": text} for text in yaml_errors(sent["content"], sent["repoType"])]
            self.answer(400 if errors else 200, {"errors": errors, "warnings": []})
            return
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"error": "Invalid username or password."})
            return
        known = re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)/(preupload|commit)/[^/]+", path)
        if path == "/api/repos/create":
            self.create(json.loads(body))
        elif path.endswith(".git/info/lfs/objects/batch"):
            self.offer_large(json.loads(body))
        elif known and (found := self.find(known.group(1), known.group(2))):
            if known.group(3) == "preupload":
                self.choose_storage(json.loads(body))
            else:
                lines = [json.loads(line) for line in body.splitlines()]
                self.commit(known.group(2), found, lines)

    def create(self, sent: dict[str, Any]) -> None:
        repo, kind = f"{sent['organization']}/{sent['name']}", sent.get("type", "model")
        page = f"{self.server.url}/{'datasets/' if kind == 'dataset' else ''}{repo}"
        if (kind, repo) in self.server.repositories:
            self.answer(409, {"error": "You already created this repo", "url": page})
            return
        self.server.repositories[kind, repo] = Repository()
        self.answer(200, {"url": page, "name": repo})

    def choose_storage(self, sent: dict[str, Any]) -> None:
        modes = [
            {
                "path": one["path"],
                "shouldIgnore": False,
                "uploadMode": "lfs"
                if one["size"] > LARGE or one["path"].endswith(".parquet")
                else "regular",
            }
            for one in sent["files"]
        ]
        self.answer(200, {"files": modes})

    def offer_large(self, sent: dict[str, Any]) -> None:
        def offer(one: dict[str, Any]) -> dict[str, Any]:
            upload = {"href": f"{self.server.url}/large/{one['oid']}"}
            return {**one, "actions": {"upload": upload}}

        self.answer(200, {"transfer": "basic", "objects": list(map(offer, sent["objects"]))})

    def commit(self, repo: str, found: Repository, lines: list[dict[str, Any]]) -> None:
        if self.server.before_commit:
            self.server.before_commit(found)
        header, *operations = lines
        pull_request = "create_pr=1" in self.path
        parent = header["value"].get("parentCommit")
        if parent and parent != found.sha() and not pull_request:
            self.answer(412, {"error": "A commit has happened since."})
            return
        files = dict(found.files)
        for one in operations:
            value = one["value"]
            if one["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                files[value["path"]] = self.server.large[value["oid"]]
        answer = {"commitUrl": f"{self.server.url}/{repo}/commit/{'0' * 40}", "commitOid": "0" * 40}
        if pull_request:
            found.pull_requests.append(files)
            answer["pullRequestUrl"] = f"{self.server.url}/{repo}/discussions/1"
        else:
            found.commits.append(files)
            found.messages.append(header["value"]["summary"])
        self.answer(200, answer)

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Hub]:
    """A running server without repositories."""
    with Hub() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub that this process speaks to, with a cache of its own."""
    from huggingface_hub import constants

    with serving() as made:
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.delenv("SSDD_BENCH_OFFLINE", raising=False)
        # Downloads of models go to the Hub that was known when the library was imported.
        template = made.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", made.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        yield made
