"""The table of weights; files looked for on this machine and verified."""

import hashlib

import pytest

from ssdd_bench.errors import UnavailableError, WeightsError
from ssdd_bench.metrics.catalog import find_metrics, needed_by
from ssdd_bench.weights import assets as module
from ssdd_bench.weights.assets import assets, cached_path, how_to_get, inspect, require


@pytest.fixture
def path(asset, content, tmp_path):
    """Put the asset's file where the user keeps weights."""
    path = tmp_path / "mine" / "net.pth"
    path.parent.mkdir()
    path.write_bytes(content)
    return path


def test_order_of_the_folders(asset, content, tmp_path):
    order = ["mine", "cache/ssdd-bench/weights", "torch/hub/checkpoints"]
    order += ["cache/torch/hub/checkpoints", "home/.cache/torch/hub/checkpoints"]
    for place in reversed(order):
        path = tmp_path / place / "net.pth"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        assert cached_path("net") == path


def test_a_file_with_the_right_checksum(path, content):
    assert require("net") == path
    assert inspect("net") == (path, hashlib.sha256(content).hexdigest())


def test_each_file_has_a_use():
    assert [
        name for name, one in assets().items() if not needed_by(name) and not one.training
    ] == []


def test_a_missing_file_says_how_to_get_it(asset):
    with pytest.raises(UnavailableError, match=r"net.pth \(1 MB\).*ssdd-bench weights fetch net"):
        require("net")


def test_advice_that_gets_into_results_does_not_name_the_home_of_a_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    text = how_to_get("dreamsim_ensemble")
    assert " ~/.cache/ssdd-bench/weights," in text
    assert str(tmp_path) not in text
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert " /elsewhere/ssdd-bench/weights," in how_to_get("dreamsim_ensemble")


def test_a_changed_file(path, content):
    require("net")
    path.write_bytes(content[:-1] + b"!")
    assert inspect("net")[0] == path  # which hashes nothing
    with pytest.raises(WeightsError, match=r"sha256.*Delete it"):
        require("net")


def test_a_truncated_file_is_found_without_hashing(path, content):
    path.write_bytes(content[:-1])
    with pytest.raises(WeightsError, match=f"{len(content) - 1} bytes, expected {len(content)}"):
        inspect("net")


def test_the_hash_is_computed_once(path, monkeypatch):
    require("net")
    monkeypatch.setattr(module, "sha256_file", lambda path: pytest.fail("hashed again"))
    require("net")


def test_a_file_without_a_published_checksum_waits_for_the_user(asset, path, content):
    asset(sha256="", bytes=0)
    record = path.with_name("net.pth.sha256")
    with pytest.raises(UnavailableError, match=r"sha256sum net\.pth > net\.pth\.sha256"):
        require("net")
    assert list(path.parent.iterdir()) == [path]  # the first file seen is not trusted

    record.write_text(f"{hashlib.sha256(content).hexdigest()}  net.pth\n")
    assert require("net") == path
    path.write_bytes(b"!" + content[1:])
    with pytest.raises(WeightsError, match="expected"):
        require("net")


def test_a_record_of_the_user_does_not_replace_a_published_checksum(path, content):
    path.write_bytes(b"!" + content[1:])
    changed = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name("net.pth.sha256").write_text(changed)
    with pytest.raises(WeightsError, match="expected"):
        require("net")


def test_every_file_is_needed_and_every_need_is_in_the_table():
    needed = {name for info in find_metrics().values() for name in info.assets}
    assert needed | {"dinov2_vitb14"} == set(assets())  # which training needs


def test_entries_are_whole():
    for asset in assets().values():
        assert asset.url.startswith("https://")
        assert asset.url.endswith(f"/{asset.file}")
        assert asset.licence
        assert len(asset.sha256) in (0, 64)
        assert asset.bytes > 0 or not asset.sha256  # a download is resumed by its size
        stem = asset.file.rsplit(".", 1)[0]
        if asset.sha256 and "-" in stem:  # publishers end the name with the hash's first digits
            assert asset.sha256.startswith(stem.rsplit("-", 1)[1])
