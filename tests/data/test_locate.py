"""Files by patterns, lists and URLs; the Hugging Face Hub is played by a small server."""

import io
import json
import pickle
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ssdd_bench.data.files import RemoteFile
from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.data.locate import Found, find_listed, find_pattern, find_url
from ssdd_bench.errors import DataError, SourceError
from ssdd_bench.results.files import LOCK_PREFIX

COMMIT = "c0ffee" + "0" * 34


def png(seed: int, size: int = 8) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(images: list[bytes], rows_per_group: int = 100, **more: list) -> bytes:
    buffer = io.BytesIO()
    table = pa.table({"image": [{"bytes": one, "path": "x"} for one in images], **more})
    pq.write_table(table, buffer, row_group_size=rows_per_group, compression="none")
    return buffer.getvalue()


def fill(folder: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(parquet([png(seed)]) if name.endswith(".parquet") else png(seed))


def test_braces_give_the_ids_of_the_whole_folder(tmp_path):
    fill(tmp_path / "set", [f"{i:03d}.parquet" for i in range(12)])
    everything = open_images(tmp_path / "set")
    some = open_images(f"{tmp_path}/set/{{000..011}}.parquet")
    assert some.ids == everything.ids
    assert some.name == everything.name == "set"
    assert open_images(f"{tmp_path}/set/{{003,005}}.parquet").ids == ("003/000000", "005/000000")
    assert open_images(f"{tmp_path}/set/{{007..007}}.parquet").ids == ("007/000000",)
    assert open_images(str(tmp_path / "set" / "00?.parquet")).ids == everything.ids[:10]
    assert open_images(str(tmp_path / "set" / "0[1-9]*.parquet")).ids == everything.ids[10:]
    for image_id in some.ids:
        assert some.read(image_id).tobytes() == everything.read(image_id).tobytes()


def test_a_pattern_is_relative_to_the_current_folder_or_home(tmp_path, monkeypatch):
    fill(tmp_path / "odd[0]" / "set", ["a.png", "b.png", ".hidden.png"])
    monkeypatch.chdir(tmp_path / "odd[0]" / "set")
    assert open_images("*.png").ids == ("a.png", "b.png")
    assert open_images("{a,b}.png").name == "set"
    monkeypatch.setenv("HOME", str(tmp_path / "odd[0]"))
    assert open_images("~/set/*.png").ids == ("a.png", "b.png")


def test_folders_that_match_stand_for_their_files(tmp_path):
    fill(tmp_path, ["n01/x.png", "n01/deep/y.png", "n02/x.png", "n1/x.png"])
    assert open_images(f"{tmp_path}/n0*").ids == ("n01/deep/y.png", "n01/x.png", "n02/x.png")


def test_missing_names_are_counted_and_named(tmp_path):
    fill(tmp_path, [f"{i:02d}.parquet" for i in (0, 1, 4)])
    with pytest.raises(DataError, match=r"2 missing \(.*/02\.parquet, \.\.\.\)"):
        open_images(f"{tmp_path}/{{00..04}}.parquet")
    with pytest.raises(DataError, match=r"1 missing \(.*/x\*\.tar\)"):
        open_images(f"{tmp_path}/x*.tar")
    with pytest.raises(DataError, match=r"1 missing \(.*/05\.parquet\)"):
        open_images([tmp_path / "00.parquet", tmp_path / "05.parquet"])


def test_a_name_with_braces_that_is_there_is_no_pattern(tmp_path):
    fill(tmp_path, ["{1..2}.png"])
    assert open_images(tmp_path / "{1..2}.png").ids == ("{1..2}.png",)


def test_a_list_of_files(tmp_path):
    fill(tmp_path, ["a/1.parquet", "b/1.parquet", "b/2.parquet"])
    source = open_images([tmp_path / "b" / "2.parquet", str(tmp_path / "a" / "1.parquet")])
    assert source.ids == ("a/1/000000", "b/2/000000")
    assert open_images([tmp_path / "b" / "2.parquet"]).ids == ("2/000000",)
    for wrong in ([], ["hf://datasets/a/b/x.tar"]):
        with pytest.raises(DataError, match="give one"):
            open_images(wrong)


def test_files_of_two_kinds_are_refused(tmp_path):
    fill(tmp_path, ["a.png", "a.parquet", "b.parquet", "c.txt"])
    for pattern in ("*", "{a.png,a.parquet}", "?.[pt]*"):
        with pytest.raises(DataError, match="of another kind"):
            open_images(f"{tmp_path}/{pattern}")
    with pytest.raises(DataError, match="cannot tell"):
        open_images(f"{tmp_path}/*.txt")


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "{a,b}\0", "[" * 300])
def test_what_can_be_no_path_is_one_line(path):
    with pytest.raises(DataError) as caught:
        open_images(path)
    assert "\n" not in str(caught.value)


# URLs


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_files_behind_a_url(memory):
    for shard in range(3):
        memory.pipe(f"/set/{shard}.parquet", parquet([png(10 * shard), png(10 * shard + 1)]))
    memory.pipe("/set/.hidden.parquet", b"")
    folder = open_images("memory://set")
    assert folder.ids == open_images("memory://set/{0..2}.parquet").ids
    assert folder.ids == open_images("memory://set/*.parquet").ids
    assert folder.ids[2:4] == ("1/000000", "1/000001")
    assert folder.name == "set"
    assert open_images("memory://set/1.parquet").ids == ("000000", "000001")
    with Image.open(io.BytesIO(png(21))) as expected:
        assert folder.read("2/000001").tobytes() == expected.tobytes()
    with pytest.raises(DataError, match=r"1 missing \(.*/3\.parquet\)"):
        open_images("memory://set/{0..3}.parquet")
    with pytest.raises(DataError, match=r"absent/x\.tar: no such file"):
        open_images("memory://absent/x.tar")


def test_images_behind_a_url(memory):
    memory.pipe({"/photos/a/1.png": png(1), "/photos/b/2.png": png(2)})
    source = open_images("memory://photos")
    assert source.ids == ("a/1.png", "b/2.png")
    with Image.open(io.BytesIO(png(2))) as expected:
        assert source.read("b/2.png").tobytes() == expected.tobytes()


def test_an_unknown_scheme_and_a_forbidden_network(monkeypatch):
    with pytest.raises(DataError, match="abc://x"):
        open_images("abc://x/y.tar")
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "1")
    with pytest.raises(DataError, match="SSDD_BENCH_OFFLINE"):
        open_images("hf://datasets/a/b/x.tar")


# The Hub


class Hub(BaseHTTPRequestHandler):
    """A repository ``someone/photos`` with a few files; counts the bytes that it sends."""

    files: dict[str, bytes]
    asked: list[str]
    sent: list[tuple[str, int]]
    failing = False

    def do_GET(self) -> None:
        self.asked.append(self.path)
        url = urlsplit(self.path)
        path = unquote(url.path)
        api = "/api/datasets/someone/photos"
        if not path.startswith((api, "/datasets/someone/photos/")):
            self.answer(404, b"{}", **{"X-Error-Code": "RepoNotFound"})
        elif path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
            self.answer(200, json.dumps({"id": "someone/photos", "sha": COMMIT}).encode())
        elif path.startswith(f"{api}/tree/{COMMIT}"):
            self.tree(path.removeprefix(f"{api}/tree/{COMMIT}").strip("/"), parse_qs(url.query))
        elif path.startswith(f"/datasets/someone/photos/resolve/{COMMIT}/"):
            self.file(path.split("/", 6)[6])
        else:
            self.answer(404, b"{}", **{"X-Error-Code": "EntryNotFound"})

    def tree(self, folder: str, query: dict[str, list[str]]) -> None:
        recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = {}
        for name, data in self.files.items():
            below = name.removeprefix(f"{folder}/" if folder else "")
            if below == name and folder:
                continue
            first, slash, _ = below.partition("/")
            if slash and not recursive:
                full = f"{folder}/{first}".strip("/")
                entries[full] = {"type": "directory", "path": full, "size": 0, "oid": "d" * 40}
            else:
                oid = f"{len(data):040x}"
                entries[name] = {"type": "file", "path": name, "size": len(data), "oid": oid}
        if entries:
            self.answer(200, json.dumps(list(entries.values())).encode())
        else:
            self.answer(404, b"{}", **{"X-Error-Code": "EntryNotFound"})

    def file(self, name: str) -> None:
        if self.failing or name not in self.files:
            self.answer(403 if self.failing else 404, b"no")
            return
        start, end = self.headers["range"].removeprefix("bytes=").split("-")
        data = self.files[name][int(start) : int(end) + 1]
        self.sent.append((name, len(data)))
        self.answer(206, data)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch):
    from huggingface_hub import HfFileSystem, constants

    class Handler(Hub):
        files: dict[str, bytes] = {}  # noqa: RUF012
        asked: list[str] = []  # noqa: RUF012
        sent: list[tuple[str, int]] = []  # noqa: RUF012

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, endpoint)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)  # HF_ENDPOINT is read when it is imported
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.delenv("SSDD_BENCH_OFFLINE", raising=False)
    HfFileSystem.clear_instance_cache()
    yield Handler
    HfFileSystem.clear_instance_cache()
    server.shutdown()
    server.server_close()
    thread.join()


def test_parquet_on_the_hub_is_read_in_pieces(hub):
    images = [png(i, 64) for i in range(30)]
    for shard in range(3):
        part = images[10 * shard : 10 * shard + 10]
        junk = [bytes(200_000) for _ in part]  # a column that nobody asked for
        hub.files[f"data/val-{shard}.parquet"] = parquet(part, 5, junk=junk)
    hub.files["data/train-0.parquet"] = parquet(images[:1])
    hub.files["README.md"] = b"# photos"

    source = open_images("hf://datasets/someone/photos/data/val-*.parquet")
    assert len(source) == 30
    assert source.name == "photos"
    assert source.ids[:2] == ("val-0/000000", "val-0/000001")
    assert source.ids == open_images("hf://datasets/someone/photos/data/val-{0..2}.parquet").ids
    for image_id, data in zip(source.ids, images, strict=True):
        with Image.open(io.BytesIO(data)) as expected:
            assert source.read(image_id).tobytes() == expected.tobytes()
    footers = 2 * 3 * (64 << 10)  # to open the set, and to read a group; so much Arrow asks for
    assert sum(size for _, size in hub.sent) < footers + 1.1 * sum(map(len, images))
    assert {name for name, _ in hub.sent} == {f"data/val-{shard}.parquet" for shard in range(3)}

    hub.sent.clear()  # Footers are in our cache.
    again = open_images("hf://datasets/someone/photos/data/val-*.parquet")
    assert again.ids == source.ids
    assert not hub.sent


def test_the_commit_is_fixed_when_the_set_is_opened(hub):
    hub.files["x/a.png"] = png(1)
    found = find_url("hf://datasets/someone/photos/x/{a,a}.png")
    (file,) = found.files.values()
    assert isinstance(file, RemoteFile)
    assert f"@{COMMIT}/" in file.url
    hub.asked.clear()
    find_url(f"hf://datasets/someone/photos@{COMMIT}/x/a.png")
    assert not [path for path in hub.asked if path.endswith("/photos")]  # of another revision


@pytest.mark.medium
def test_images_cost_one_request_each(hub):
    """Besides a listing of the folder in each thread."""
    from huggingface_hub import HfFileSystem

    for i in range(60):
        hub.files[f"x/{i}.png"] = png(i)
    source = pickle.loads(pickle.dumps(open_images("hf://datasets/someone/photos/x")))
    HfFileSystem.clear_instance_cache()  # as in another process
    hub.asked.clear()
    assert sum(map(len, ImageLoader(source, 8, "adm", 2, threads=3))) == 60
    assert len([path for path in hub.asked if "/resolve/" in path]) == 60
    assert len(hub.asked) <= 60 + 3 * 2


def test_a_tar_on_the_hub(hub):
    from huggingface_hub import HfFileSystem

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for i in range(4):
            info = tarfile.TarInfo(f"{i}.png")
            info.size = len(png(i))
            tar.addfile(info, io.BytesIO(png(i)))
    hub.files["0.tar"] = buffer.getvalue()
    source = open_images(Path("hf://datasets/someone/photos/0.tar"))
    hub.sent.clear()
    with Image.open(io.BytesIO(png(2))) as expected:
        assert source.read("2.png").tobytes() == expected.tobytes()
    assert hub.sent == [("0.tar", len(png(2)))]
    hub.files["1.tar"] = buffer.getvalue()[:2000]
    HfFileSystem.clear_instance_cache()
    with pytest.raises(DataError, match=r"1\.tar after member '1\.png'"):
        open_images("hf://datasets/someone/photos/1.tar")


def test_an_image_is_not_left_out_when_the_server_fails(hub):
    hub.files["a.png"] = png(1)
    source = open_images("hf://datasets/someone/photos/*.png")
    assert source.read("a.png").size == (8, 8)
    hub.failing = True
    with pytest.raises(SourceError, match=r"a\.png"):
        source.read("a.png")


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("someone/other", "no such repository"),
        ("someone/photos/absent/{0..1}.tar", "2 missing"),
        ("someone/photos/absent.tar", r"absent\.tar: no such file"),
        ("someone/photos@old", "old"),
        ("photos", "photos"),
    ],
)
def test_what_the_hub_does_not_have(hub, path, token):
    hub.files["a.png"] = png(1)
    with pytest.raises(DataError, match=token) as caught:
        open_images(f"hf://datasets/{path}")
    assert "\n" not in str(caught.value)


def test_results_that_lie_among_the_images_are_no_data(tmp_path):
    """A run into a folder of its own images adds sample pictures, which are none of them."""
    (tmp_path / "runs" / "samples").mkdir(parents=True)
    for name in ("a.png", "runs/samples/ssdd.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    assert open_images(tmp_path).ids == ("a.png", "runs/samples/ssdd.png")
    (tmp_path / "runs" / f"{LOCK_PREFIX}run.lock").touch()
    assert open_images(tmp_path).ids == ("a.png",)


def test_what_is_found_has_the_name_of_its_folder(tmp_path, monkeypatch):
    base = tmp_path / "set"
    fill(base, ["a/1.png", "b/c/2.png"])
    files = {"a/1.png": "a/1.png", "b/c/2.png": "b/c/2.png"}
    several = Found("set", files, "several", base)
    assert find_listed([base / "b" / "c" / "2.png", str(base / "a" / "1.png")]) == several
    assert find_pattern(f"{base}/**/*.png") == several
    assert find_pattern(f"{base}/{{a,b}}") == several
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_listed(["~/set/a/1.png", "~/set/b/c/2.png"]) == several
    folder = Found.in_folder("any", base)
    assert (folder.name, dict(sorted(folder.files.items())), folder.kind) == (
        "any",
        files,
        "folder",
    )
    assert folder.whole("a/1.png") == base / "a" / "1.png"
    remote = RemoteFile("memory://x", 1, "")
    assert Found("x", {"x": remote}, "one").whole("x") == remote


@pytest.mark.parametrize(
    ("url", "name", "kind"),
    [
        ("memory://set", "set", "folder"),
        ("memory://set/", "set", "folder"),
        ("memory://set/[ab]", "set", "several"),
        ("memory://set/{a,b}", "set", "several"),
        ("memory://set/?/*", "set", "several"),
        ("memory://set/{a/1,b/2}.tar", "set", "several"),
    ],
)
def test_what_is_found_behind_a_url(memory, url, name, kind):
    hidden = {"/set/b/.h/3.tar": b"", "/set/b/.4.tar": b"", "/set/.c/5.tar": b""}
    memory.pipe({"/set/a/1.tar": b"1", "/set/b/2.tar": b"22", **hidden})
    found = find_url(url)
    assert (found.name, found.kind, found.base) == (name, kind, Path())
    assert {key: file.size for key, file in found.files.items()} == {"a/1.tar": 1, "b/2.tar": 2}
    assert {file.url for file in found.files.values()} == {
        *("memory:///set/a/1.tar", "memory:///set/b/2.tar"),
    }


def test_one_file_behind_a_url(memory):
    memory.pipe("/set/a/1.tar", b"1")
    found = find_url("memory://set/a/1.tar")
    assert (found.name, found.kind, list(found.files)) == ("1", "one", ["1.tar"])
