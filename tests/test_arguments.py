"""Arguments from Python: what is taken, and what is refused in one line."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ssdd_bench as sb
from ssdd_bench.api import Tokenizer
from ssdd_bench.arguments import check_choice, numbers, plain, texts, whole, whole_numbers
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation import run as run_module
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.protocols.registry import find_protocol, get_protocol

NAMES = ("off", "default", "most")


@pytest.mark.parametrize("value", ["OFF", True, None, 0, ["off"], np.zeros(2), torch.float64])
def test_a_choice_is_one_of_the_names(value: object) -> None:
    check_choice("compile", "off", NAMES)
    with pytest.raises(UserError) as caught:
        check_choice("compile", value, NAMES)
    assert all(name in str(caught.value) for name in ("compile", *NAMES))


@pytest.mark.parametrize("value", ["1", 1.0, True, None, [1], -1, torch.tensor([1, 2])])
def test_a_whole_number_has_no_other_type(value: object) -> None:
    found = whole("seed", np.int64(3), 0)
    assert (found, type(found)) == (3, int)
    assert whole("seed", -1) == -1
    with pytest.raises(UserError, match="seed"):
        whole("seed", value, 0)


def test_one_is_as_good_as_several() -> None:
    assert whole_numbers("seeds", 1) == whole_numbers("seeds", [1]) == (1,)
    assert whole_numbers("seeds", np.arange(2)) == whole_numbers("seeds", range(2)) == (0, 1)
    assert texts("paths", "ab") == texts("paths", Path("ab")) == texts("paths", ["ab"]) == ("ab",)


@pytest.mark.parametrize("value", ["12", [1, "a"], 1.5])
def test_each_of_several_numbers_is_whole(value: object) -> None:
    with pytest.raises(UserError, match="seeds"):
        whole_numbers("seeds", value)


@pytest.mark.parametrize("value", [5, [5], None])
def test_each_of_several_texts_is_one(value: object) -> None:
    with pytest.raises(UserError, match="paths"):
        texts("paths", value)


class Mine(Tokenizer):
    def encode(self, images: Any, noise: Any = None) -> Any:
        raise AssertionError

    def decode(self, latent: Any, noise: Any) -> Any:
        raise AssertionError


WRONG = [
    ({"dtype": "fp16"}, "bfloat16"),
    ({"dtype": torch.float64}, "bfloat16"),
    ({"compile": True}, "max-autotune"),
    ({"memory_format": "nhwc"}, "channels_last"),
    ({"load_threads": -1}, "load_threads"),
    ({"batch_size": 1.5}, "auto"),
    ({"batch_size": "2"}, "auto"),
    ({"metrics": 5}, "metrics"),
]
WRONG_IMAGES = [
    ({"limit": 1.5}, "1.5"),
    ({"limit": "2"}, "'2'"),
    ({"sample": 2.0}, "2.0"),
    ({"sample": 1, "sample_seed": "a"}, "sample_seed"),
]


@pytest.mark.parametrize(
    ("wrong", "token"),
    [
        *WRONG,
        ({"load_threads": "2"}, "load_threads"),
        ({"seeds": 1.5}, "seeds"),
        ({"seeds": "a"}, "seeds"),
        ({"resolutions": [64.0]}, "resolutions"),
        ({"protocols": 1}, "protocols"),
        *WRONG_IMAGES,
        ({"tokenizers": [Mine()]}, "Mine"),
        ({"tokenizers": Mine()}, "evaluate"),
    ],
)
def test_run_refuses_before_it_starts(
    wrong: dict[str, Any], token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "run_jobs", None)
    given = {"tokenizers": "jpeg", "out": tmp_path, "device": "cpu", "progress": False, **wrong}
    with pytest.raises(UserError) as caught:
        sb.run(**given)
    assert token in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "token"),
    [
        *WRONG,
        ({"seed": "a"}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"resolution": "64"}, "resolution"),
        *WRONG_IMAGES,
        ({"protocol": 5}, "protocol"),
    ],
)
def test_evaluate_refuses(wrong: dict[str, Any], token: str) -> None:
    given = {"data": torch.zeros(1, 3, 8, 8), "resolution": 8, "metrics": "mae", **wrong}
    with pytest.raises(UserError) as caught:
        sb.evaluate("identity", device="cpu", progress=False, **given)
    assert token in str(caught.value)


def test_run_takes_single_values_and_formats_of_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[RunConfig] = []
    monkeypatch.setattr(run_module, "run_jobs", lambda config, *_: calls.append(config))
    same: dict[str, Any] = {"out": tmp_path, "device": "cpu", "progress": False}
    sb.run("jpeg", resolutions=64, seeds=1, protocols="ldm-v1", dtype=torch.bfloat16, **same)
    sb.run(
        ["jpeg"], resolutions=[64], seeds=[1], protocols=["ldm-v1"], dtype="bfloat16", **same
    )  # fmt: skip
    assert calls[0] == calls[1]


@pytest.mark.parametrize(
    ("wrong", "token"),
    [
        ({"resolution": "8"}, "resolution"),
        ({"protocol": 5}, "protocol"),
        ({"metrics": 5}, "metrics"),
    ],
)
def test_pairs_are_refused(wrong: dict[str, Any], token: str) -> None:
    images = torch.zeros(1, 3, 8, 8)
    given = {"metrics": "mae", "device": "cpu", "progress": False, **wrong}
    with pytest.raises(UserError) as caught:
        sb.evaluate_pairs(images, images, **given)
    assert token in str(caught.value)


@pytest.mark.parametrize("values", ["12", 1.0, [1.0], [1.0, "2"], [1.0, True], [1.0, math.nan]])
def test_lists_of_numbers(values: Any) -> None:
    assert numbers("stds", [np.float32(0.5), 2], 2, positive=True) == (0.5, 2.0)
    assert numbers("means", (0, -1), 2) == (0.0, -1.0)
    with pytest.raises(UserError, match="stds"):
        numbers("stds", values, 2)
    with pytest.raises(UserError, match="2 positive"):
        numbers("stds", [1, 0], 2, positive=True)


@pytest.mark.parametrize("value", [5, None, "ab", [1, 2], (1.0,)])
def test_tensors_and_arrays_are_plain_numbers(value: Any) -> None:
    assert plain(value) is value
    assert plain(torch.arange(2).view(1, 2, 1)) == plain(np.arange(2)) == [0, 1]
    assert plain(torch.tensor(0.5)) == plain(np.float32(0.5)) == plain(np.array(0.5)) == 0.5


def test_a_protocol_is_an_id_a_file_or_an_object(tmp_path: Path) -> None:
    file = tmp_path / "mine-v1.toml"
    file.write_text('base = "ldm-v1"\ndescription = "mine"\n')
    found = get_protocol(file)
    assert found.id == "mine-v1"
    assert get_protocol(found) is found
    assert get_protocol(str(file)) == found
    with pytest.raises(UserError, match="gfid-v1"):
        get_protocol(find_protocol("gfid-v1"))


@pytest.mark.medium
def test_evaluate_takes_formats_of_torch_and_integers_of_numpy() -> None:
    integers: dict[str, Any] = {"resolution": np.int64(8), "seed": np.int64(2)}
    found = sb.evaluate(
        "identity", data=torch.zeros(1, 3, 8, 8), metrics="mae", dtype=torch.bfloat16,
        device="cpu", progress=False, **integers,
    )  # fmt: skip
    assert type(found.resolution) is int
    assert found.seed == 2


@pytest.mark.medium
def test_results_are_loaded_from_lists_of_paths() -> None:
    file = Path(__file__).parent / "fixtures" / "result.json"
    one, again = sb.load_results(str(file)), sb.load_results([str(file)])
    assert list(one.fingerprint) == list(again.fingerprint)
    wrong: Any = [5]
    with pytest.raises(UserError, match="int"):
        sb.load_results(wrong)
