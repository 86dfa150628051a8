"""Attention kernels and compiled networks against plain ones, on the same device."""

import pytest
import torch

from ssdd_bench.nn.attention import Kernel, RelativePositionBias, neighbourhood_attention
from ssdd_bench.nn.decoder import DecoderSize, SSDDDecoder

NARROW = DecoderSize((16, 16, 32, 32), heads=2, depth=1, groups=4, init_std=None)
TOLERANCES = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 3e-2}
# Fused operations round less often than eager ones.
COMPILED = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 0.1}
LAYOUTS = [torch.contiguous_format, torch.channels_last]
quiet = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


@pytest.fixture
def bias(device):
    torch.manual_seed(1)
    made = RelativePositionBias(heads=2).to(device)
    torch.nn.init.normal_(made.relative_bias_table)
    return made


@pytest.fixture
def tokens(device, small):
    def make(grid, dtype=torch.float32):
        grid = tuple(-(-side // 4) for side in grid) if small else grid
        generator = torch.Generator().manual_seed(0)
        shape = (3, 2, 2, grid[0] * grid[1], 40)  # 40 is the width of a head of S
        return grid, torch.randn(shape, generator=generator).to(device, dtype).unbind(0)

    return make


@quiet
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("grid", [(32, 32), (37, 45), (64, 64)])
@torch.inference_mode()
def test_kernels_agree(bias, tokens, grid, dtype):
    grid, exact = tokens(grid)
    expected = neighbourhood_attention(*exact, grid, bias, Kernel.DENSE)
    bias.to(dtype)
    inputs = [x.to(dtype) for x in exact]
    for kernel in Kernel:
        found = neighbourhood_attention(*inputs, grid, bias, kernel).float()
        torch.testing.assert_close(found, expected, atol=TOLERANCES[dtype], rtol=0)


def test_gradients_agree(bias, tokens, device):
    grid, inputs = tokens((37, 45))
    found = {}
    for kernel in Kernel:
        if kernel == Kernel.FLEX and device.type == "cpu":
            continue  # it has no gradients there
        leaves = [x.clone().requires_grad_() for x in inputs]
        out = neighbourhood_attention(*leaves, grid, bias, kernel)
        found[kernel] = torch.autograd.grad(out.square().sum(), [*leaves, *bias.parameters()])
    for kernel, gradients in found.items():
        for a, b in zip(gradients, found[Kernel.DENSE], strict=True):
            torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3, msg=kernel)


@torch.inference_mode()
def test_dense_attention_takes_a_fused_kernel(bias, tokens, device):
    """The mask must not send it to the one that writes all pairs to memory."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if device.type == "cpu":
        pytest.skip("a matter of the kernels of a GPU")
    for dtype in TOLERANCES:
        grid, inputs = tokens((32, 32), dtype)
        fused = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]
        with sdpa_kernel(fused):  # raises where none of them takes the inputs
            neighbourhood_attention(*inputs, grid, bias, Kernel.DENSE)


def compiled(network, small, mode):
    how = {"backend": "aot_eager"} if small else {"mode": mode}
    return torch.compile(network, fullgraph=True, dynamic=False, **how)


@pytest.mark.parametrize(
    ("mode", "dtype", "layout", "side"),
    [
        ("default", torch.float32, torch.contiguous_format, 264),  # 33 x 33 tokens: FlexAttention
        ("default", torch.bfloat16, torch.channels_last, 128),
        ("reduce-overhead", torch.float16, torch.channels_last, 128),  # CUDA graphs
    ],
)
@torch.inference_mode()
def test_compiled_decoder(mode, dtype, layout, side, device, small, relative_error):
    torch.manual_seed(0)
    network = SSDDDecoder(NARROW, 4).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    network.to(device, dtype, memory_format=layout)
    graph = compiled(network, small, mode)
    side = 72 if small else side
    for seed in range(4):  # the first calls warm up and record, later ones replay
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(2, 3, side, side, generator=generator).to(device, dtype)
        z = torch.randn(2, 4, side // 8, side // 8, generator=generator).to(device, dtype)
        inputs = x.contiguous(memory_format=layout), torch.tensor([1.0, 0.5], device=device), z
        error = relative_error(graph(*inputs), network(*inputs))
        assert error < COMPILED[dtype]


@pytest.mark.slow
def test_compiled_training_step(device, small):
    torch.manual_seed(0)
    network = SSDDDecoder(NARROW, 4).to(device)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, z = torch.randn(2, 3, 64, 64, device=device), torch.randn(2, 4, 8, 8, device=device)
    found = [
        torch.autograd.grad(one(x, torch.ones(2, device=device), z).square().sum(), weights)
        for one in (compiled(network, small, "default"), network)
        for weights in [list(network.parameters())]
    ]
    for a, b in zip(*found, strict=True):
        scale = b.abs().max().item()
        torch.testing.assert_close(a, b, atol=1e-3 * max(scale, 1), rtol=1e-2)
