"""Fields of configurations: each one reaches the result, its hash or its files."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.data.latents import LatentsConfig
from ssdd_bench.errors import DataError
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.execution import DEFAULT_EXECUTION, ExecutionSettings
from ssdd_bench.evaluation.folder import JobIdentity
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.run import run_jobs
from ssdd_bench.evaluation.settings import Settings, job_fingerprint
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.protocols.registry import find_protocol, get_protocol
from ssdd_bench.results.schema import Result

CPU = torch.device("cpu")
Results = list[Result]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write six photos, of which the last is larger than a megabyte."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(6):
        side = 640 if index == 5 else 24
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def base(photos: Path, out: Path) -> RunConfig:
    return RunConfig(
        requests=tuple(parse_requests("jpeg:quality=20,downsample")),
        resolutions=(16,),
        out=out,
        metrics=("psnr",),
        data=photos,
        device="cpu",
        speed=False,
        pictures=False,
    )


def scores(config: RunConfig) -> Results:
    """Run and return the results in the order of the jobs."""
    return [one.result for one in run_jobs(config).finished]


def other_hash(before: Results, after: Results) -> bool:
    return before[0].fingerprint != after[0].fingerprint


def check_requests(before: Results, after: Results) -> bool:
    same = before[1].fingerprint == after[1].fingerprint
    return other_hash(before, after) and after[0].tokenizer.options["quality"] == 21 and same


def check_pixels(before: Results, after: Results) -> bool:
    same = before[0].data.ids_sha256 == after[0].data.ids_sha256
    return same and before[0].data.pixels_sha256 != after[0].data.pixels_sha256


# Another value of each field, and the check of the results without it and with it. None: the field
# does not say what is measured, or another test has it, as the comment says.
Check = Callable[[Results, Results], bool] | None
RUN_FIELDS: dict[str, tuple[Any, Check]] = {
    "requests": (tuple(parse_requests("jpeg:quality=21,downsample")), check_requests),
    "resolutions": ((8,), lambda a, b: b[0].resolution == 8 and other_hash(a, b)),
    "out": (None, None),  # all tests of files
    "metrics": (("ssim", "psnr"), lambda a, b: set(b[0].metrics) == {"ssim", "psnr"}),
    "protocols": (
        ("ldm-v1",),
        lambda a, b: b[0].protocol["id"] == "ldm-v1" and other_hash(a, b),
    ),
    "data": (None, lambda a, b: check_pixels(a, b) and other_hash(a, b)),
    "limit": (3, lambda a, b: b[0].data.n == 3 and other_hash(a, b)),
    "sample": (3, lambda a, b: b[0].data.n == 3 and other_hash(a, b)),
    "sample_seed": (1, lambda a, b: a[0].data.ids_sha256 != b[0].data.ids_sha256),
    "max_image_mb": (1, lambda a, b: b[0].data.skipped == ("5.png",) and other_hash(a, b)),
    "seeds": ((7,), lambda a, b: b[0].seed == 7 and other_hash(a, b)),
    "batch_size": ((1, 2), lambda a, b: a[0].speed.batches != b[0].speed.batches == (1, 2)),
    "device": (None, None),  # tests/gpu
    "execution": (None, None),  # below
    "speed": (True, lambda a, b: a[0].speed is None and b[0].speed is not None),
    "pictures": (True, None),  # below
    "picture_quality": (65, None),  # below
    "strict": (True, None),  # below
    "load_threads": (3, None),  # moves no number: tests/data/test_loader.py
    "intervals": (True, None),  # needs more images: tests/evaluation/test_run.py
    "force": (True, None),  # tests/evaluation/test_run.py
    "interleave": (True, lambda a, b: b[1].speed.comparison.baseline == a[0].tokenizer.label),
    "baseline": ("downsample", lambda a, b: b[0].speed.comparison.baseline == "downsample"),
    "command": ("ssdd-bench x", lambda a, b: b[0].command == "ssdd-bench x"),
}
ALSO: dict[str, dict[str, Any]] = {
    "sample_seed": {"sample": 3},
    "batch_size": {"speed": True},
    "interleave": {"speed": True},
    "baseline": {"speed": True, "interleave": True},
}


def test_every_field_of_a_run_is_here() -> None:
    assert RUN_FIELDS.keys() == {one.name for one in fields(RunConfig)}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, (_, check) in RUN_FIELDS.items() if check])
def test_fields_of_a_run_arrive(photos: Path, tmp_path: Path, name: str) -> None:
    value, check = RUN_FIELDS[name]
    if name == "data":
        value = tmp_path / "other"
        value.mkdir()
        for file in photos.iterdir():  # of the same names
            image = Image.open(file).point(lambda level: 255 - level)
            image.save(value / file.name)
    without = replace(base(photos, tmp_path / "a"), **ALSO.get(name, {}))
    with_it = replace(without, out=tmp_path / "b", **{name: value})
    assert check
    before, after = scores(without), scores(with_it)
    assert len(before) == len(after) == 2
    assert check(before, after)


@pytest.mark.medium
def test_a_bad_image_is_an_error_where_it_is_strict(photos: Path, tmp_path: Path) -> None:
    config = replace(base(photos, tmp_path / "a"), max_image_mb=1)
    assert not run_jobs(config).failures
    with pytest.raises(DataError, match=r"5\.png"):
        run_jobs(replace(config, out=tmp_path / "b", strict=True))


@pytest.mark.medium
def test_pictures_are_files(photos: Path, tmp_path: Path) -> None:
    config = base(photos, tmp_path / "a")
    run_jobs(config)
    assert not list((tmp_path / "a").glob("samples/*"))
    sizes = {}
    for quality in (config.picture_quality, 20):
        out = tmp_path / str(quality)
        run_jobs(replace(config, out=out, pictures=True, picture_quality=quality))
        assert len(list(out.glob("samples/*"))) == 3  # two tokenizers, and the originals
        sizes[quality] = sum(file.stat().st_size for file in out.glob("samples/*/*"))
    assert sizes[20] < sizes[config.picture_quality]


def changed(value: Any) -> Any:
    """Return another value of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 0.5 + 0.125
        case str():
            return value + "x"
        case (first, *rest) if not isinstance(first, str):
            return (changed(first), *rest)
        case tuple():
            return (*value, "x")
        case dict():
            return {**value, "x": "y"}
        case None:
            return 1
    raise TypeError(type(value))


@pytest.mark.parametrize("name", ["default-v1", "gfid-v1"])
def test_every_setting_of_a_protocol_is_in_its_hash(name: str) -> None:
    protocol = find_protocol(name)
    for one in fields(protocol):
        value = getattr(protocol, one.name)
        other = replace(protocol, **{one.name: () if one.name == "superseded" else changed(value)})
        unhashed = one.name in ("description", "superseded")
        assert (other.sha256 == protocol.sha256) == unhashed, one.name


SETTINGS = {
    "dtype": "bfloat16",
    "compile": "default",
    "memory_format": "contiguous",
    "cuda_graphs": True,
}


class OneLayer(Tokenizer):
    """A tokenizer with a network, on which settings of execution act."""

    def __init__(self) -> None:
        self.latent = LatentSpec("continuous", f=1, channels=3)
        self.layer = torch.nn.Conv2d(3, 3, 1)

    def encode(self, images: torch.Tensor, noise: Any = None) -> Latent:
        return Latent(images, (images.shape[-2], images.shape[-1]))

    def decode(self, latent: Latent, noise: Any) -> torch.Tensor:
        return self.layer(latent.data)

    def networks(self) -> dict[str, torch.nn.Module]:
        return {"decoder": self.layer}


def small_settings() -> Settings:
    return Settings(16, get_protocol("default-v1"), ("psnr",), CPU)


@pytest.mark.parametrize("name", [one.name for one in fields(ExecutionSettings)])
def test_every_setting_of_execution_is_in_the_hash(record: Any, name: str) -> None:
    loaded = LoadedTokenizer(OneLayer(), record())
    settings = small_settings()
    other = replace(settings, execution=replace(DEFAULT_EXECUTION, **{name: SETTINGS[name]}))
    assert job_fingerprint(loaded, other, "x") != job_fingerprint(loaded, settings, "x")


# Fields of a tokenizer's record that decide numbers; the others describe it.
DECIDES = {"id", "version", "options", "weights"}


def test_what_decides_numbers_of_a_tokenizer_is_in_the_hash(record: Any) -> None:
    settings, one = small_settings(), record()
    first = job_fingerprint(LoadedTokenizer(OneLayer(), one), settings, "x")
    for name in (field.name for field in fields(one)):
        value = getattr(one, name)
        value = {"w.bin": "cd" * 32} if name == "weights" else changed(value)
        other = LoadedTokenizer(OneLayer(), replace(one, **{name: value}))
        assert (job_fingerprint(other, settings, "x") != first) == (name in DECIDES), name
    assert job_fingerprint(LoadedTokenizer(OneLayer(), one), settings, "y") != first


JOB = JobIdentity("ab", ("psnr",), (), False, False, 5, 64)


@pytest.mark.parametrize("name", [one.name for one in fields(JobIdentity)])
def test_chunks_of_another_identity_lie_in_another_folder(name: str, tmp_path: Path) -> None:
    other = replace(JOB, **{name: changed(getattr(JOB, name))})
    assert other.folder_name(tmp_path / "a.json") != JOB.folder_name(tmp_path / "a.json")


LATENTS = LatentsConfig(
    *("ssdd", "ab", {"w.bin": "cd"}, 8, 4, 256, "adm", "mode", 0, False, "photos", 5, "ef"),
    classes=("cat",),
)


@pytest.mark.parametrize("name", [one.name for one in fields(LatentsConfig)])
def test_every_field_of_latents_is_in_the_key_of_their_shards(name: str) -> None:
    assert replace(LATENTS, **{name: changed(getattr(LATENTS, name))}).key != LATENTS.key
