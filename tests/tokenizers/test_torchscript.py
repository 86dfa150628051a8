"""Exported programs: TorchScript and ONNX, continuous and discrete."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from ssdd_bench.api import LatentSpec
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.diffusers.programs import EachImage
from ssdd_bench.errors import PluginError, ResolutionError, WeightsError
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.plugins.registry import load_tokenizer


class Pool(nn.Module):
    """Means of 4 x 4 pixels, given first of two as some exports do."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.gain * avg_pool2d(x, 4), x


class Shrink(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, 4)


class Enlarge(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return interpolate(z, scale_factor=4.0)


class Levels(nn.Module):
    """One of 16 grey levels per 4 x 4 pixels: codes (B, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return (avg_pool2d(x.mean(dim=1), 4) * 7.5 + 7.5).round().long()


class Greys(nn.Module):
    def forward(self, codes: Tensor) -> Tensor:
        grey = (codes.float() - 7.5) / 7.5
        return interpolate(grey[:, None].expand(-1, 3, -1, -1), scale_factor=4.0)


def export(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript as a whole is deprecated
        torch.jit.script(module.eval()).save(path)
    return path


@pytest.fixture
def spec(tmp_path):
    encoder = export(Pool(), tmp_path / "encoder.jit")
    return f"torchscript:encoder={encoder},decoder={export(Enlarge(), tmp_path / 'decoder.jit')}"


def expected(images):
    return interpolate(avg_pool2d(images, 4), scale_factor=4.0)


def check_round_trip(spec):
    tokenizer = load_tokenizer(spec)
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    latent = tokenizer.encode(images)
    decoded = tokenizer.decode(latent, KeyedNoise(0, "ab", "decode"))
    torch.testing.assert_close(decoded, expected(images))
    return tokenizer, latent, images


@pytest.mark.medium
def test_torchscript(spec):
    assert check_tokenizer(spec) == []
    tokenizer, latent, images = check_round_trip(spec)
    assert tokenizer.latent == LatentSpec("continuous", f=4, channels=3)
    torch.testing.assert_close(latent.data, avg_pool2d(2 * images - 1, 4))
    assert [path.name for path in tokenizer.weights] == ["encoder.jit", "decoder.jit"]
    assert sum(p.numel() for p in tokenizer.networks()["encoder"].parameters()) == 1


@pytest.mark.medium
def test_the_range_of_the_pixels(spec):
    _, latent, images = check_round_trip(f"{spec},pixels=0..1")
    torch.testing.assert_close(latent.data, avg_pool2d(images, 4))


def test_discrete(tmp_path):
    encoder, decoder = (
        export(module, tmp_path / f"{name}.jit")
        for name, module in (("encoder", Levels()), ("decoder", Greys()))
    )
    spec = f"torchscript:encoder={encoder},decoder={decoder}"
    assert check_tokenizer(f"{spec},codes=16") == []
    assert load_tokenizer(f"{spec},codes=16").latent == LatentSpec("discrete", 4, 1, 4.0)
    with pytest.raises(WeightsError, match="codes=N"):
        load_tokenizer(spec)


class Row(nn.Module):
    """Codes in a row, (B, N)."""

    def forward(self, x: Tensor) -> Tensor:
        return (avg_pool2d(x.mean(dim=1), 8) * 7.5 + 7.5).round().long().flatten(1)


class FromRow(nn.Module):
    def forward(self, codes: Tensor) -> Tensor:
        grey = (codes.float() - 7.5).reshape(-1, 1, 8, 8) / 7.5
        return interpolate(grey.expand(-1, 3, -1, -1), scale_factor=8.0)


class Tall(nn.Module):
    """Floats in a row, (B, C, 1, N)."""

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, 8).flatten(2)[:, :, None]


class FromTall(nn.Module):
    def forward(self, z: Tensor, noise: Tensor) -> Tensor:
        return interpolate(z.reshape(-1, 3, 8, 8), scale_factor=8.0) + 0.01 * noise


@pytest.mark.parametrize(
    ("encoder", "decoder", "more", "latent"),
    [
        (Row(), FromRow(), ",codes=16", LatentSpec("discrete", 0, 1, 4.0, tokens=64)),
        (Tall(), FromTall(), "", LatentSpec("continuous", 0, 3, tokens=64)),
    ],
)
def test_tokens_in_a_row(encoder, decoder, more, latent, tmp_path):
    files = (export(encoder, tmp_path / "encoder.jit"), export(decoder, tmp_path / "decoder.jit"))
    spec = "torchscript:encoder={},decoder={},size=64".format(*files) + more
    assert load_tokenizer(spec).latent == latent
    assert check_tokenizer(spec, resolution=64) == []


@pytest.mark.medium
def test_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    def save(name, node, initializer=()):
        inner, outer = (
            helper.make_tensor_value_info(one, TensorProto.FLOAT, ["n", 3, "h", f"w{one}"])
            for one in ("x", "y")
        )
        graph = helper.make_graph([node], name, [inner], [outer], list(initializer))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, tmp_path / name)

    pool = {"kernel_shape": [4, 4], "strides": [4, 4]}
    save("encoder.onnx", helper.make_node("AveragePool", ["x"], ["y"], **pool))
    save(
        "decoder.onnx",
        helper.make_node(
            "Resize",
            ["x", "", "scales"],
            ["y"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        [helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 4, 4])],
    )
    spec = f"onnx:encoder={tmp_path / 'encoder.onnx'},decoder={tmp_path / 'decoder.onnx'}"
    assert check_tokenizer(spec) == []
    tokenizer, _, _ = check_round_trip(spec)
    assert tokenizer.latent == LatentSpec("continuous", f=4, channels=3)
    (tmp_path / "bad.onnx").write_text("no")
    with pytest.raises(WeightsError, match="no ONNX file"):
        load_tokenizer(f"{spec.partition(',')[0]},decoder={tmp_path / 'bad.onnx'}")


@pytest.mark.medium
def test_an_onnx_file_of_one_size_states_it(tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    shapes = {"x": [1, 3, 16, 24], "y": [1, 3, 4, 6]}
    for name, (one, other) in {"encoder": "xy", "decoder": "yx"}.items():
        kind = "AveragePool" if name == "encoder" else "ConvTranspose"
        node = helper.make_node(kind, [one], [other], kernel_shape=[4, 4], strides=[4, 4])
        if name == "decoder":
            node.input.append("w")
            node.attribute.append(helper.make_attribute("group", 3))
        ones = helper.make_tensor("w", TensorProto.FLOAT, [3, 1, 4, 4], [1.0] * 48)
        graph = helper.make_graph(
            [node],
            name,
            *(
                [helper.make_tensor_value_info(side, TensorProto.FLOAT, shapes[side])]
                for side in (one, other)
            ),
            [ones] if name == "decoder" else [],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, tmp_path / f"{name}.onnx")
    spec = f"onnx:encoder={tmp_path / 'encoder.onnx'},decoder={tmp_path / 'decoder.onnx'}"
    tokenizer, latent, _ = check_round_trip(spec)  # without size=
    assert tokenizer.latent.f == 4
    with pytest.raises(ResolutionError, match="24 x 16, not 32 x 32") as caught:
        tokenizer.encode(torch.zeros(1, 3, 32, 32))
    assert "\n" not in str(caught.value)
    with pytest.raises(ResolutionError, match="6 x 4, not 4 x 4"):
        tokenizer.decode(replace(latent, data=latent.data[..., :4], size=(16, 16)), None)


@pytest.mark.medium
def test_an_exported_torchscript_file_states_its_size(tmp_path):
    pytest.importorskip("diffusers")
    encoder = export(EachImage(Shrink(), (16, 24)), tmp_path / "encoder.jit")
    decoder = export(EachImage(Enlarge(), (4, 6)), tmp_path / "decoder.jit")
    tokenizer, latent, _ = check_round_trip(f"torchscript:encoder={encoder},decoder={decoder}")
    with pytest.raises(ResolutionError, match="24 x 16, not 32 x 32") as caught:
        tokenizer.encode(torch.zeros(1, 3, 32, 32))
    assert "\n" not in str(caught.value)
    with pytest.raises(ResolutionError, match="6 x 4, not 4 x 4"):
        tokenizer.decode(replace(latent, data=latent.data[..., :4], size=(16, 16)), None)
    with pytest.raises(torch.jit.Error) as caught:  # in a program without this package
        tokenizer.networks()["encoder"](torch.zeros(1, 3, 32, 32))
    assert "24 x 16, not 32 x 32" in str(caught.value).strip().splitlines()[-1]


@pytest.mark.medium
def test_user_errors_are_one_line(spec, tmp_path):
    (tmp_path / "bad.jit").write_text("no")
    encoder = spec.partition(",")[0]
    for wrong, message in (
        ("torchscript", "encoder=FILE"),
        (f"{encoder},decoder=missing.jit", r"missing\.jit: no such file"),
        (f"{encoder},decoder={tmp_path / 'bad.jit'}", "no TorchScript file"),
        (f"{spec},codes=16", "codes"),
    ):
        with pytest.raises(WeightsError, match=message) as caught:
            load_tokenizer(wrong)
        assert "\n" not in str(caught.value)
    with pytest.raises(PluginError, match=r"fails on shape \(1, 3, 2, 2\)") as caught:
        load_tokenizer(spec).encode(torch.zeros(1, 3, 2, 2))
    assert "\n" not in str(caught.value)
