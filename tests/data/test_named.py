"""Data sets by name: found, checked against their file lists, and clear about what is absent."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image
from plugin_folders import install_distribution

from ssdd_bench.cli.list import command as list_command
from ssdd_bench.cli.run import command as run_command
from ssdd_bench.data import named
from ssdd_bench.data.images import open_images
from ssdd_bench.data.named import (
    DATA_SETS,
    SETS,
    DataSet,
    expand_names,
    hash_names,
    require_named,
    roots,
    some_of,
)
from ssdd_bench.data.sample import SAMPLE_DIR
from ssdd_bench.errors import DataError, UserError
from ssdd_bench.plugins.discovery import BUILT_IN, Place
from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.results.store import load_results

THREE = """
title = "Three"
images = 3
get = "https://example.org/three"
licence = "CC0-1.0"
protocol = "default-v1"
names = "{names}"
names_sha256 = "{sha256}"
folder = "{folder}"
"""


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """The folder of data sets; nothing of the user's is seen."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SSDD_BENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution whose entry points name packages with a dataset.toml."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))

    def install(**texts):
        packages = {name: f"photos_{number}" for number, name in enumerate(texts)}
        points = {name.replace("_", "-"): package for name, package in packages.items()}
        install_distribution(site, "photos", DATA_SETS.group, points)
        for name, text in texts.items():
            folder = site / packages[name]
            (folder / "images").mkdir(parents=True)
            (folder / "__init__.py").write_text("raise SystemExit('was imported')")
            (folder / "dataset.toml").write_text(text)
        return site

    return install


def fill(folder: Path, names, suffix=""):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (len(name), 0, 0)).save(path, "PNG")


def test_what_is_built_in():
    sets, broken = DATA_SETS.all(), DATA_SETS.broken()
    assert not broken
    assert {name: one.images for name, one in sets.items()} == {
        "cifar10-test": 10_000,
        "clic": 41,
        "coco-val": 5_000,
        "div2k": 100,
        "imagenet-val": 50_000,
        "kodak": 24,
        "sample": 35,
        "sample-synthetic": 12,
    }
    for one in sets.values():
        assert one.protocol in PROTOCOLS.all()
        assert one.get
        assert one.licence
        if one.names:  # both ways to say the list agree
            names = expand_names(one.names)
            assert len(names) == one.images
            assert hash_names(names) == one.names_sha256
    assert expand_names(sets["imagenet-val"].names)[-1] == "ILSVRC2012_val_00050000.JPEG"
    assert expand_names(sets["div2k"].names)[0] == "0801.png"


def test_braces_are_written_out_as_by_a_shell():
    assert expand_names("a{08..11}.png") == ["a08.png", "a09.png", "a10.png", "a11.png"]
    assert expand_names("{b,a}-{1..2}") == ["b-1", "b-2", "a-1", "a-2"]
    assert expand_names("x{,y}") == ["x", "xy"]
    for plain in ("a.png", "{}", "{a}", "{1..}", "{a..b}"):
        assert expand_names(plain) == [plain]
    for wrong in ("{2..1}", "{0..1000000}", "{0..999}{0..999}{0..1}", "{0..999999999999999999}"):
        with pytest.raises(DataError, match="give"):
            expand_names(wrong)


def test_hash_is_that_of_the_documented_command(tmp_path):
    names = ["b.png", "sub/a.png", "A.png"]
    fill(tmp_path, names)
    shell = "find . -type f -printf '%f\\n' | LC_ALL=C sort | sha256sum"
    done = subprocess.run(["sh", "-c", shell], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split()[0] == hash_names(["b.png", "a.png", "A.png"])


def test_the_default_is_the_sample_set_and_is_checked(monkeypatch):
    assert open_images("sample").ids == open_images(None).ids == open_images(SAMPLE_DIR).ids
    monkeypatch.setattr(named, "hash_names", lambda names: "0" * 64)
    with pytest.raises(DataError, match="not data set 'sample': sha256 of its file names"):
        open_images()


def test_class_folders_change_neither_ids_nor_order(data):
    names = expand_names("kodim{01..24}.png")
    fill(data / "kodak", names)
    flat = open_images("kodak")
    assert (flat.name, list(flat.ids)) == ("kodak", names)
    (data / "kodak").rename(data / "flat")
    fill(data / "kodak", [f"class{i % 5}/{name}" for i, name in enumerate(names)])
    assert open_images("kodak").ids == flat.ids
    assert open_images("kodak", 4).ids == open_images(data / "flat", 4).ids
    assert open_images("kodak", max_image_mb=7).max_mb == 7
    assert open_images("kodak").read("kodim07.png").getpixel((0, 0)) == (18, 0, 0)


def test_the_users_own_folder_comes_second(data, tmp_path):
    fill(tmp_path / "home" / "ssdd-bench" / "kodak", expand_names("kodim{01..24}.png"))
    assert DATA_SETS.all()["kodak"].find() == tmp_path / "home" / "ssdd-bench" / "kodak"
    (data / "kodak").mkdir(parents=True)
    assert DATA_SETS.all()["kodak"].find() == data / "kodak"


def test_folders_of_data_sets(monkeypatch, tmp_path):
    home = tmp_path / "me"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SSDD_BENCH_DATA", "~/sets")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert roots() == (home / "sets", tmp_path / "share" / "ssdd-bench")
    monkeypatch.setenv("XDG_DATA_HOME", "")
    assert roots() == (home / "sets", home / ".local" / "share" / "ssdd-bench")
    monkeypatch.delenv("SSDD_BENCH_DATA")
    assert roots() == (home / ".local" / "share" / "ssdd-bench",)


def test_only_a_named_set_is_required(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (None, "kodka", Path("/nowhere")):
        require_named(path)
    for path in ("kodak", Path("kodak")):
        with pytest.raises(DataError, match=r"'kodak' \(24 images\) is .* full path with --data$"):
            require_named(path)
    (data / "kodak").mkdir(parents=True)
    require_named("kodak")
    require_named("sample")


def test_every_field_of_a_set(tmp_path):
    file = tmp_path / "three.toml"
    file.write_text(THREE.format(names="{a,b,c}", sha256="12", folder="images"))
    loaded = named._load(Place("three", "package photos", file, "photos"))
    expected = DataSet(
        name="three",
        title="Three",
        images=3,
        get="https://example.org/three",
        licence="CC0-1.0",
        protocol="default-v1",
        file=str(file),
        source="package photos",
        names="{a,b,c}",
        names_sha256="12",
        folder="images",
    )
    assert loaded == {"three": expected}
    assert expected.places() == (tmp_path / "images",)
    assert expected.find() is None
    file.write_text("odd = 1")
    for name, message in (("three", "unknown key 'odd'"), ("My Photos", "'My Photos' is no name")):
        with pytest.raises(UserError) as caught:
            named._load(Place(name, "package photos", file, "photos"))
        assert str(caught.value).startswith(f"{file}: {message}")
    assert DATA_SETS.all()["kodak"].file == str(SETS / "kodak.toml")
    assert DATA_SETS.all()["kodak"].source == BUILT_IN


def test_differences_of_names():
    one = DataSet("x", "X", 3, "", "", "", "", "", names="{a,b,c}")
    assert one.difference(["c", "b", "a"]) == ""
    assert one.difference(["a", "a", "b", "b"]) == "2 in several folders (a, ...)"
    assert one.difference(["d", "b"]) == "2 missing (a, ...), 1 not of it (d)"
    assert one.difference(["a", "b"]) == "1 missing (c)"
    counted = DataSet("x", "X", 1001, "", "", "", "", "")
    assert counted.difference(["a"]) == "the number of images is 1, not 1,001"
    assert counted.difference([str(i) for i in range(1001)]) == ""
    hashed = DataSet("x", "X", 1, "", "", "", "", "", names_sha256=hash_names(["a"]))
    assert hashed.difference(["a"]) == ""
    assert hashed.difference(["b"]) == (
        f"sha256 of its file names is {hash_names(['b'])[:12]}, not {hash_names(['a'])[:12]}"
    )
    assert some_of([str(i) for i in range(1200)], "odd") == "1,200 odd (0, ...)"
    assert some_of([], "odd") == ""


def test_a_name_that_is_no_utf8_has_a_hash():
    assert hash_names(["\udcff"]) == hashlib.sha256(b"\xff\n").hexdigest()


def test_a_million_names_are_the_most(monkeypatch):
    monkeypatch.setattr(named, "MOST_NAMES", 6)
    assert len(expand_names("{1..2}{a,b,c}")) == 6
    assert len(expand_names("{1..6}")) == 6
    for pattern in ("{1..7}", "{a,b,c}{1..3}", "{1..2}{a,b,c,d}"):
        with pytest.raises(DataError, match="names: give at most 6"):
            expand_names(pattern)
    assert expand_names("{7..7}-{a,}.{png,jpg}") == ["7-a.png", "7-a.jpg", "7-.png", "7-.jpg"]


def test_an_absent_set_says_where_to_get_it_and_where_to_put_it(data, tmp_path, monkeypatch):
    with pytest.raises(DataError) as caught:
        open_images("imagenet-val")
    text = str(caught.value)
    for piece in ("50,000", "image-net.org", "accept the terms", str(data / "imagenet-val")):
        assert piece in text
    assert "\n" not in text
    (tmp_path / "kodak").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=re.escape(f"full path such as {tmp_path / 'kodak'}")):
        open_images(Path("kodak"))
    with pytest.raises(DataError, match=r"no such file or folder: kodka; .*did you mean kodak"):
        open_images("kodka")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"remove": "kodim07.png"}, r"1 missing \(kodim07.png\)"),
        ({"add": "thumb.png"}, r"1 not of it \(thumb.png\)"),
        ({"remove": "kodim07.png", "add": "x.png"}, r"1 missing .*, 1 not of it"),
        ({"add": "twice/kodim01.png"}, r"1 in several folders \(kodim01.png\)"),
    ],
)
@pytest.mark.parametrize("limit", [None, 2])
def test_a_wrong_list_is_refused(data, change, message, limit):
    fill(data / "kodak", expand_names("kodim{01..24}.png"))
    if name := change.get("remove"):
        (data / "kodak" / name).unlink()
    if name := change.get("add"):
        fill(data / "kodak", [name])
    with pytest.raises(DataError, match=message):
        open_images("kodak", limit)
    assert len(open_images(data / "kodak")) in (23, 24, 25)  # by its path, as it is


def test_shards_are_counted(data):
    (data / "kodak").mkdir(parents=True)
    fill(data, ["one.png"])
    one = {"bytes": (data / "one.png").read_bytes(), "path": "elsewhere.png"}
    for shard, count in (("a", 10), ("b", 14)):
        table = pa.table({"image": [one] * count})
        pq.write_table(table, data / "kodak" / f"validation-{shard}.parquet")
    assert len(open_images("kodak")) == 24
    pq.write_table(pa.table({"image": [one]}), data / "kodak" / "train.parquet")
    with pytest.raises(DataError, match="is 25, not 24"):
        open_images("kodak")


@pytest.mark.slow
def test_a_result_records_the_name(data, tmp_path):
    fill(data / "kodak", expand_names("kodim{01..24}.png"))
    flags = ["--tokenizers", "identity", "--res", "8", "--data", "kodak", "--limit", "2"]
    more = ["--metrics", "mse", "--no-speed", "--no-pictures", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(run_command, [*flags, *more])
    assert done.exit_code == 0, done.output
    (result,) = load_results([tmp_path / "out"])
    assert (result.data.name, result.data.n) == ("kodak", 2)


def test_a_package_adds_one_without_being_imported(install):
    names = ["a.png", "b.png", "c.png"]
    text = THREE.format(names="", sha256=hash_names(names), folder="images")
    site = install(three=text)
    fill(site / "photos_0" / "images", names)
    assert DATA_SETS.all()["three"].source == "package photos"
    assert open_images("three").ids == tuple(names)
    fill(site / "photos_0" / "images", ["d.png"])
    (site / "photos_0" / "images" / "a.png").unlink()
    with pytest.raises(DataError, match="sha256 of its file names"):
        open_images("three")


def test_a_broken_one_harms_no_other(install):
    whole = THREE.format(names="", sha256="", folder="")
    install(three=whole, kodak=whole, other=whole + "nonsense = 1\n", worse="= 2")
    sets, broken = DATA_SETS.all(), DATA_SETS.broken()
    assert {"three", "kodak"} <= sets.keys()
    assert sets["kodak"].images == 24
    errors = {one.name: str(one.error) for one in broken}
    assert set(errors) == {"kodak", "other", "worse"}
    assert "have the id 'kodak'" in errors["kodak"]
    assert "unknown key 'nonsense'" in errors["other"]
    listed = CliRunner().invoke(list_command, ["data"])
    assert "warning: other (package photos) is left out" in listed.stderr


def test_listing_says_what_is_here(data):
    (data / "kodak").mkdir(parents=True)
    listed = json.loads(CliRunner().invoke(list_command, ["data", "--json"]).stdout)["data"]
    here = {one["name"]: one["here"] for one in listed}
    assert here["kodak"] == str(data / "kodak")
    assert here["imagenet-val"] is None
    assert Path(here["sample"]) == SAMPLE_DIR
    text = CliRunner().invoke(list_command, ["data"]).stdout
    assert re.search(r"kodak +24 +here", text)
    assert re.search(r"div2k +100 +absent", text)


@pytest.mark.medium
def test_listing_needs_no_heavy_library():
    code = (
        "import sys; from ssdd_bench.data.named import DATA_SETS; DATA_SETS.all();"
        "sys.exit(bool({'torch', 'numpy', 'pyarrow', 'PIL'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
