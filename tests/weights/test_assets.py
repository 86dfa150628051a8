from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.weights.assets import assets


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
