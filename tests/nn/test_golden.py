"""The network equals the paper's: outputs on weights and inputs drawn from a named rule.

Weights and inputs are legacy numpy normals seeded by the CRC-32 of their name; the expected values
were computed once with the reference network (fixtures/ssdd-golden.json).
"""

import copy
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from ssdd_bench.flow.path import interpolate, predict_x0, velocity
from ssdd_bench.flow.schedule import power_schedule
from ssdd_bench.flow.solver import euler
from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder

FIXTURES = Path(__file__).parents[1] / "fixtures"
GOLDEN = json.loads((FIXTURES / "ssdd-golden.json").read_text())
TOLERANCE = 5e-4


def rand(name, shape):
    normals = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.from_numpy(normals.astype(np.float32))


@torch.no_grad()
def fill(module, prefix):
    for key, value in module.state_dict().items():
        name = f"{prefix}.{key}"
        drawn = rand(name, tuple(value.shape))
        if key.endswith("relative_bias_table"):
            drawn = 0.5 * drawn
        elif value.ndim >= 2:
            drawn = drawn / (value.numel() / value.shape[0]) ** 0.5
        elif key.endswith("weight"):
            drawn = 1 + 0.1 * drawn
        else:
            drawn = 0.05 * drawn
        value.copy_(drawn)
    return module.eval()


def check(out, case):
    expected = GOLDEN[case] if isinstance(case, str) else GOLDEN[case[0]][case[1]]
    assert list(out.shape) == expected["shape"]
    assert out.mean().item() == pytest.approx(expected["mean"], abs=TOLERANCE)
    assert out.std().item() == pytest.approx(expected["std"], abs=TOLERANCE)
    assert out.abs().max().item() == pytest.approx(expected["absmax"], abs=TOLERANCE)
    got = out.flatten()[expected["idx"]].tolist()
    assert got == pytest.approx(expected["vals"], abs=TOLERANCE)


def decoder(size, z_dim=4):
    return fill(SSDDDecoder(size, z_dim=z_dim), "decoder")


@pytest.fixture(scope="module")
def small():
    return decoder("S")


T = torch.tensor([1.0, 0.37])
LATENTS = {8: ("z4_16", (2, 4, 16, 16)), 16: ("z16_8", (2, 16, 8, 8)), 32: ("z64_4", (2, 64, 4, 4))}


@pytest.mark.medium
@torch.no_grad()
@pytest.mark.parametrize(
    ("case", "size", "f", "resolution"),
    [
        ("dec_S_f8c4_128", "S", 8, 128),
        pytest.param("dec_S_f16c16_128", "S", 16, 128, marks=pytest.mark.slow),
        pytest.param("dec_S_f32c64_128", "S", 32, 128, marks=pytest.mark.slow),
        pytest.param("dec_M_f8c4_128", "M", 8, 128, marks=pytest.mark.slow),
        pytest.param("dec_L_f8c4_128", "L", 8, 128, marks=pytest.mark.slow),
        pytest.param("dec_M_f8c4_256", "M", 8, 256, marks=pytest.mark.nightly),
    ],
)
def test_decoder(case, size, f, resolution):
    name, shape = LATENTS[f] if resolution == 128 else ("z4_32", (2, 4, 32, 32))
    z = rand(name, shape)
    x = rand(f"x{resolution}", (2, 3, resolution, resolution))
    check(decoder(size, z.shape[1])(x, T, z), case)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 4, 8])
def test_euler(small, steps):
    z = rand(*LATENTS[8])
    noise = rand("x128", (2, 3, 128, 128))
    out = euler(lambda x, t: small(x, t, z), noise, power_schedule(steps, 2))
    check(out, f"euler{steps}_p2_dec_S_f8c4_128")


@pytest.mark.slow
@torch.no_grad()
def test_flow_matching_loss(small):
    expected = GOLDEN["fm_loss_dec_S_f8c4_128"]
    image = torch.tanh(rand("gt128", (2, 3, 128, 128)))
    noise = rand("x128", (2, 3, 128, 128))
    t = torch.tensor(expected["t"])
    x_t = interpolate(image, noise, t)
    predicted = small(x_t, t, rand(*LATENTS[8]))
    loss = (predicted - velocity(image, noise)).square().mean()
    assert loss.item() == pytest.approx(expected["loss"], abs=TOLERANCE)
    check(predict_x0(x_t, predicted, t), ("fm_loss_dec_S_f8c4_128", "x0"))


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(("f", "z_dim"), [(8, 4), (16, 16)])
def test_encoder(f, z_dim):
    encoder = fill(SSDDEncoder(f=f, z_dim=z_dim), "encoder")
    posterior = encoder(torch.tanh(rand("img128", (1, 3, 128, 128))))
    case = f"enc_f{f}c{z_dim}_128"
    check(posterior.mode(), f"{case}_mean")
    check(posterior.logvar, f"{case}_logvar")
    assert posterior.kl().item() == pytest.approx(GOLDEN[f"{case}_kl_sum"], abs=0.01)


@pytest.mark.medium
def test_every_tensor_of_the_released_layout():
    rows = [
        line.split("\t") for line in (FIXTURES / "ssdd-f8c4-M-tensors.tsv").read_text().splitlines()
    ]
    expected = {name: shape for name, shape in rows if "." in name}
    with torch.device("meta"):
        networks = {"encoder": SSDDEncoder(), "decoder": SSDDDecoder("M")}
    got = {
        f"{prefix}.{key}": "x".join(map(str, value.shape))
        for prefix, module in networks.items()
        for key, value in module.state_dict().items()
    }
    assert len(expected) == 536
    assert got == expected


@pytest.mark.medium
@pytest.mark.parametrize(
    ("size", "z_dim", "count"),
    [
        ("XS", 4, 4_996_611),
        ("S", 4, 14_057_059),
        ("S", 16, 14_070_883),
        ("B", 4, 21_140_459),
        ("M", 4, 50_280_147),
        ("M", 16, 50_300_883),
        ("L", 4, 90_759_939),
        pytest.param("XL", 4, 161_272_835, marks=pytest.mark.slow),
        pytest.param("H", 4, 362_688_003, marks=pytest.mark.slow),
        pytest.param("XH", 4, 644_622_339, marks=pytest.mark.slow),
        pytest.param("G", 4, 1_450_019_715, marks=pytest.mark.slow),
    ],
)
def test_parameter_counts(size, z_dim, count):
    with torch.device("meta"):
        network = SSDDDecoder(size, z_dim)
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize(
    ("f", "z_dim", "count"),
    [(8, 4, 34_163_664), (16, 4, 45_966_800), (16, 16, 46_078_400), (32, 64, 58_339_456)],
)
def test_encoder_parameter_counts(f, z_dim, count):
    with torch.device("meta"):
        network = SSDDEncoder(f=f, z_dim=z_dim)
    assert sum(p.numel() for p in network.parameters()) == count


BUGS = {
    "bias table transposed": lambda net: [
        block.relative_position_bias.relative_bias_table.copy_(
            block.relative_position_bias.relative_bias_table.transpose(0, 1).clone()
        )
        for block in net.mid_block.transformer_blocks
    ],
    "bias table flipped (key minus query)": lambda net: [
        block.relative_position_bias.relative_bias_table.copy_(
            block.relative_position_bias.relative_bias_table.flip(0, 1)
        )
        for block in net.mid_block.transformer_blocks
    ],
    "layer norm halves swapped": lambda net: [
        swap_halves(block.norm1.linear) for block in net.mid_block.transformer_blocks
    ],
    "gated GELU halves swapped": lambda net: [
        swap_halves(block.ff.proj_in_act.proj) for block in net.mid_block.transformer_blocks
    ],
    "time halves swapped": lambda net: [
        swap_halves(m.time_emb_proj) for m in net.modules() if hasattr(m, "time_emb_proj")
    ],
    "group norm halves swapped": lambda net: [
        swap_halves(m.ctx_proj) for m in net.modules() if hasattr(m, "ctx_proj")
    ],
    "sines before cosines": lambda net: net.time_embedding.linear_1.weight.copy_(
        net.time_embedding.linear_1.weight.roll(32, dims=1)
    ),
}


def swap_halves(layer):
    half = layer.weight.shape[0] // 2
    layer.weight.copy_(layer.weight.roll(half, dims=0))
    layer.bias.copy_(layer.bias.roll(half, dims=0))


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("bug", BUGS)
def test_the_check_sees(bug, small):
    network = copy.deepcopy(small)
    BUGS[bug](network)
    out = network(rand("x128", (2, 3, 128, 128)), T, rand(*LATENTS[8]))
    with pytest.raises(AssertionError):
        check(out, "dec_S_f8c4_128")
