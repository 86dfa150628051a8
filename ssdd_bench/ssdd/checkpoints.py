"""Build SSDD networks by the shapes of a safetensors file's tensors, and load it strictly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from ssdd_bench.errors import WeightsError, counted
from ssdd_bench.nn.decoder import DecoderSize, SSDDDecoder
from ssdd_bench.nn.encoder import MULTIPLIERS, SSDDEncoder
from ssdd_bench.weights.files import load_safetensors, load_strict
from ssdd_bench.weights.layout import CONFIG, read_config

State = dict[str, Tensor]
Network = TypeVar("Network", SSDDEncoder, SSDDDecoder)

EXPORTED = "AutoencoderSSDD"
"""Class that the configuration of an exported folder names."""


def load_ssdd(path: Path) -> tuple[SSDDEncoder, SSDDDecoder]:
    """Load an encoder and a decoder, in float32 on the CPU, in evaluation mode.

    Raises:
        WeightsError: the file is missing, damaged, or not an SSDD checkpoint.
    """
    states = _read(path)
    encoder = _build(_infer_encoder, states, "encoder", path)
    return encoder, _build(_infer_decoder, states, "decoder", path)


def load_encoder(path: Path) -> SSDDEncoder:
    """Load the encoder alone, as :func:`load_ssdd`.

    Raises:
        WeightsError: the file is missing, damaged, or has no SSDD encoder.
    """
    return _build(_infer_encoder, _read(path), "encoder", path)


def load_decoder(path: Path) -> SSDDDecoder:
    """Load a decoder trained on the latents of another model's encoder, as :func:`load_ssdd`.

    Raises:
        WeightsError: the file is missing, damaged, no SSDD decoder, or has its own encoder.
    """
    states = _read(path)
    if states["encoder"]:
        raise WeightsError(f"{path} has an encoder of its own: load it without another one")
    return _build(_infer_decoder, states, "decoder", path)


def read_export(path: Path) -> dict[str, Any]:
    """Return the configuration beside a checkpoint that ``AutoencoderSSDD.save_pretrained`` wrote.

    Empty for another file, such as one with a card of its own.

    Raises:
        WeightsError: the configuration is damaged.
    """
    config = path.with_name(CONFIG)
    if path.with_suffix(".json").is_file() or not config.is_file():
        return {}
    saved = read_config(config)
    return saved if saved.get("_class_name") == EXPORTED else {}


def _read(path: Path) -> dict[str, State]:
    """Separate the tensors of ``encoder.*`` and ``decoder.*``, without those prefixes."""
    states: dict[str, State] = {"encoder": {}, "decoder": {}}
    foreign = []
    for name, value in load_safetensors(path).items():
        role, _, rest = name.partition(".")
        if role in states and rest:
            states[role][rest] = value.float() if value.is_floating_point() else value
        else:
            foreign.append(name)
    if foreign:
        raise WeightsError(
            f"{path} is not an SSDD checkpoint: it has {counted(len(foreign), 'tensor')} outside "
            f"of encoder.* and decoder.*, such as '{foreign[0]}'"
        )
    return states


def _build(
    infer: Callable[[State], Network], states: dict[str, State], role: str, path: Path
) -> Network:
    state = states[role]
    if not state:
        (other,) = states.keys() - {role}
        fix = (
            "Pass the encoder of its latents: encoder=FILE, a checkpoint that has encoder.*, or "
            "vae=DIR, a folder of an AutoencoderKL"
            if role == "encoder"
            else "Pass a checkpoint with decoder.*"
        )
        raise WeightsError(f"{path} holds an SSDD {other} and no {role}. {fix}")
    try:
        network = infer(state)
    except (KeyError, IndexError) as error:
        raise WeightsError(
            f"{path} is not an SSDD checkpoint: the {role} has no tensor {error} of such a "
            "network. Pass another file"
        ) from error
    load_strict(network, state, path)
    return network.eval()


def _infer_decoder(state: State) -> SSDDDecoder:
    widths = tuple(state[f"down_blocks.{i}.resnets.0.conv2.weight"].shape[0] for i in range(4))
    depth = sum(name.endswith("relative_bias_table") for name in state)
    table = "mid_block.transformer_blocks.0.relative_position_bias.relative_bias_table"
    heads = state[table].shape[-1]
    size = DecoderSize.of(widths, heads, depth)  # type: ignore[arg-type]
    return SSDDDecoder(size, z_dim=state["conv_in.weight"].shape[1] - 3)


def _infer_encoder(state: State) -> SSDDEncoder:
    levels = 1 + sum(name.endswith("downsample.conv.weight") for name in state)
    by_levels = {len(multipliers): f for f, multipliers in MULTIPLIERS.items()}
    if levels not in by_levels:
        raise KeyError("downsample.conv.weight")  # as many as no encoder of SSDD has
    f = by_levels[levels]
    z_dim = state["out_proj.weight"].shape[0] // 2
    return SSDDEncoder(f, z_dim, base=state["conv_in.weight"].shape[0])
