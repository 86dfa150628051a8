"""Transformer that predicts in latent space: DiT (arXiv 2212.09748), which SiT uses unchanged.

Diffusers' ``DiTTransformer2DModel`` holds the embeddings of time and class once per block, spaces
the frequencies of time differently from the published networks, and samples dropped labels from
torch's global generator, so that no training can be resumed exactly. Tensors are named as in the
published files; those of diffusers are renamed.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssdd_bench.errors import OptionError, WeightsError, reason_of
from ssdd_bench.nn.blocks import time_features
from ssdd_bench.results.records import read_json
from ssdd_bench.weights.files import load_safetensors, load_strict
from ssdd_bench.weights.layout import CONFIG

SIZES = {  # name: (depth, width, heads)
    "nano": (6, 192, 3),
    "S": (12, 384, 6),
    "B": (12, 768, 12),
    "L": (24, 1024, 16),
    "XL": (28, 1152, 16),
}
PATCHES = (1, 2, 4)
TIME_WIDTH = 256  # of the sinusoid that times are fed as
EPS = 1e-6


@dataclass(frozen=True)
class DiTConfig:
    """Shape of a network.

    Attributes:
        depth: blocks.
        width: of a token.
        heads: of the attention.
        patch: cells along one side of a token.
        side: cells along one side of the latent.
        channels: of the latent.
        classes: labels 0 to ``classes - 1``; the label ``classes`` stands for none.
        doubled: the output has twice the latent's channels. The second half is a variance in DiT
            and unused in SiT.
    """

    depth: int
    width: int
    heads: int
    patch: int
    side: int
    channels: int
    classes: int
    doubled: bool = False

    @property
    def name(self) -> str:
        """Name as in papers, ``DiT-XL/2``; other sizes by depth and width."""
        shape = (self.depth, self.width, self.heads)
        size = next((name for name, one in SIZES.items() if one == shape), None)
        return f"DiT-{size or f'{self.depth}x{self.width}'}/{self.patch}"


def make_config(size: str, patch: int, side: int, channels: int, classes: int) -> DiTConfig:
    """Describe a network by the name of its size."""
    if size not in SIZES:
        raise OptionError(f"no DiT has the size '{size}': use one of {', '.join(SIZES)}")
    if patch not in PATCHES or side % patch:
        raise OptionError(
            f"patch {patch} does not fit a latent of {side} x {side} cells: use one of "
            + ", ".join(str(one) for one in PATCHES if side % one == 0)
        )
    return DiTConfig(*SIZES[size], patch, side, channels, classes)


class DiT(nn.Module):
    """Network that maps a noisy latent, a time and a label to a velocity or to the noise."""

    pos_embed: Tensor

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch
        out = config.channels * (2 if config.doubled else 1)
        grid = config.side // patch
        projection = nn.Conv2d(config.channels, width, patch, stride=patch)
        clock = nn.Sequential(nn.Linear(TIME_WIDTH, width), nn.SiLU(), nn.Linear(width, width))
        table = nn.Embedding(config.classes + 1, width)
        # Dicts give the tensors the names that published files have.
        self.x_embedder = nn.ModuleDict({"proj": projection})
        self.t_embedder = nn.ModuleDict({"mlp": clock})
        self.y_embedder = nn.ModuleDict({"embedding_table": table})
        self.blocks = nn.ModuleList(DiTBlock(width, config.heads) for _ in range(config.depth))
        self.final_layer = nn.ModuleDict(
            {
                "linear": nn.Linear(width, patch * patch * out),
                "adaLN_modulation": nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width)),
            }
        )
        self.register_buffer("pos_embed", position_table(width, grid)[None])
        self._initialise()

    def forward(self, x: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """Predict for a batch.

        Args:
            x: noisy latents (B, channels, side, side).
            times: (B,) in the unit the network was trained with: DiT steps 0 to 999, SiT and our
                flows 0 (noise) to 1 (data).
            labels: int64 (B,), ``classes`` for none.
        """
        tokens = self.x_embedder["proj"](x).flatten(2).transpose(1, 2) + self.pos_embed
        sinusoid = time_features(times, TIME_WIDTH).to(x.dtype)
        condition = self.t_embedder["mlp"](sinusoid) + self.y_embedder["embedding_table"](labels)
        for block in self.blocks:
            tokens = block(tokens, condition)
        change = self.final_layer["adaLN_modulation"](condition)[:, None]
        tokens = self.final_layer["linear"](_modulate(tokens, *change.chunk(2, dim=-1)))
        # Within a token the channels vary fastest.
        grid, patch = self.config.side // self.config.patch, self.config.patch
        maps = tokens.unflatten(1, (grid, grid)).unflatten(3, (patch, patch, -1))
        return maps.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)

    def _initialise(self) -> None:
        """Initialise modulations and output at zero, so that blocks are identities, as in DiT."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1 or "adaLN" in name or name.startswith("final_layer"):
                nn.init.zeros_(parameter)
            elif name.startswith(("t_embedder", "y_embedder")):
                nn.init.normal_(parameter, std=0.02)
            else:
                nn.init.xavier_uniform_(parameter.detach().flatten(1))


class DiTBlock(nn.Module):
    """Attention and MLP, both shifted, scaled and gated by the condition (adaLN-Zero)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}
        )
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map tokens (B, N, width) under a condition (B, width) to the same shape."""
        change = self.adaLN_modulation(condition)[:, None].chunk(6, dim=-1)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = change
        x = x + gate * self._attend(_modulate(x, shift, scale))
        hidden = self.mlp["fc1"](_modulate(x, mlp_shift, mlp_scale))
        return x + mlp_gate * self.mlp["fc2"](F.gelu(hidden, approximate="tanh"))

    def _attend(self, x: Tensor) -> Tensor:
        qkv = self.attn["qkv"](x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if x.is_cpu:  # whose bfloat16 backward pass takes ten times as long for few tokens
            with torch.autocast("cpu", enabled=False):
                mixed = F.scaled_dot_product_attention(*qkv.float().unbind()).to(qkv.dtype)
        else:
            mixed = F.scaled_dot_product_attention(*qkv.unbind())
        return self.attn["proj"](mixed.transpose(1, 2).flatten(2))


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale) + shift


def position_table(width: int, grid: int) -> Tensor:
    """Compute fixed sinusoids of the tokens' columns, then rows: (grid * grid, width)."""
    quarter = width // 4
    frequencies = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * frequencies
    line = torch.cat([angles.sin(), angles.cos()], dim=1)  # (grid, width / 2)
    columns = line[None].expand(grid, -1, -1)
    rows = line[:, None].expand(-1, grid, -1)
    return torch.cat([columns, rows], dim=2).flatten(0, 1).float()


def load_dit(path: Path) -> DiT:
    """Load a network in float32, on the CPU, in evaluation mode; its shape follows from the file.

    Args:
        path: safetensors or torch file with a state dict of DiT or SiT, one of their training
            checkpoints (the average ``ema`` is taken), or diffusers' layout of DiT.

    Raises:
        WeightsError: the file is missing, damaged or holds another network.
    """
    state = _read(path)
    if "transformer_blocks.0.norm1.linear.weight" in state:
        state = _from_diffusers(state, path)
    try:
        config = _infer_config(state)
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(f"{path} is not a DiT or SiT checkpoint: {error}") from error
    network = DiT(config)
    load_strict(network, {name: value.float() for name, value in state.items()}, path)
    return network.eval()


def _infer_config(state: dict[str, Tensor]) -> DiTConfig:
    width, channels, patch, _ = state["x_embedder.proj.weight"].shape
    out = state["final_layer.linear.weight"].shape[0]
    depth = sum(name.endswith(".attn.qkv.weight") for name in state)
    heads = next((h for _, w, h in SIZES.values() if w == width), width // 64)
    grid = math.isqrt(state["pos_embed"].shape[-2])
    classes = state["y_embedder.embedding_table.weight"].shape[0] - 1
    doubled = out == 2 * channels * patch**2
    return DiTConfig(depth, width, heads, patch, grid * patch, channels, classes, doubled)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors" or not path.is_file():
        return load_safetensors(path)
    try:
        # Training checkpoints hold their command line too, which is plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            found: Any = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise WeightsError(
            f"{path}: not a file of tensors ({reason_of(error)}): fetch it again"
        ) from error
    if isinstance(found, dict):
        found = found.get("ema", found)
    if not isinstance(found, dict) or not all(isinstance(one, Tensor) for one in found.values()):
        raise WeightsError(f"{path}: holds no state dict: give a checkpoint of DiT or SiT")
    return found


def _from_diffusers(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Rename and join diffusers' tensors; its embeddings are equal in all blocks."""
    config = path.with_name(CONFIG)
    if not config.is_file():
        raise WeightsError(f"{path}: needs the {CONFIG} that diffusers stores beside it")
    side = read_json(config).get("sample_size")
    if type(side) is not int:
        raise WeightsError(f"{config}: no whole number 'sample_size': fetch it again")
    embedder = "transformer_blocks.0.norm1.emb."
    names = {
        "x_embedder.proj": ["pos_embed.proj"],
        "t_embedder.mlp.0": [f"{embedder}timestep_embedder.linear_1"],
        "t_embedder.mlp.2": [f"{embedder}timestep_embedder.linear_2"],
        "final_layer.adaLN_modulation.1": ["proj_out_1"],
        "final_layer.linear": ["proj_out_2"],
    }
    for i in range(sum(name.endswith(".norm1.linear.weight") for name in state)):
        theirs = f"transformer_blocks.{i}."
        names |= {
            f"blocks.{i}.adaLN_modulation.1": [f"{theirs}norm1.linear"],
            f"blocks.{i}.attn.qkv": [f"{theirs}attn1.to_{one}" for one in "qkv"],
            f"blocks.{i}.attn.proj": [f"{theirs}attn1.to_out.0"],
            f"blocks.{i}.mlp.fc1": [f"{theirs}ff.net.0.proj"],
            f"blocks.{i}.mlp.fc2": [f"{theirs}ff.net.2"],
        }
    found = {
        f"{ours}.{kind}": torch.cat([state[f"{one}.{kind}"] for one in theirs])
        for ours, theirs in names.items()
        for kind in ("weight", "bias")
    }
    table = "class_embedder.embedding_table.weight"
    found["y_embedder.embedding_table.weight"] = state[embedder + table]
    width, _, patch, _ = found["x_embedder.proj.weight"].shape
    found["pos_embed"] = position_table(width, side // patch)[None]
    return found
