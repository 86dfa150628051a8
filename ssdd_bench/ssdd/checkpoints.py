"""Build the SSDD networks that a safetensors file was saved from, and load it strictly.

Sizes, f and the latent's channels follow from the shapes of the tensors, so a file needs no
configuration beside it. Official files hold float32; ours hold float16 and are widened.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ssdd_bench.errors import WeightsError
from ssdd_bench.nn.decoder import SIZES, DecoderSize, SSDDDecoder
from ssdd_bench.nn.encoder import MULTIPLIERS, SSDDEncoder
from ssdd_bench.weights.files import load_safetensors, load_strict

State = dict[str, Tensor]


def split_state(state: State, path: Path) -> tuple[State, State]:
    """Separate the tensors of ``encoder.*`` and ``decoder.*``, without those prefixes.

    Raises:
        WeightsError: ``path``, where the tensors come from, has others too.
    """
    foreign = [name for name in state if not name.startswith(("encoder.", "decoder."))]
    if foreign:
        raise WeightsError(
            f"{path} is not an SSDD checkpoint: it has {len(foreign)} tensors that belong neither "
            f"to encoder.* nor to decoder.*, such as '{foreign[0]}'"
        )
    encoder, decoder = (
        {
            name.removeprefix(prefix): value.float()
            for name, value in state.items()
            if name.startswith(prefix)
        }
        for prefix in ("encoder.", "decoder.")
    )
    return encoder, decoder


def infer_decoder(state: State) -> SSDDDecoder:
    """Build an untrained decoder of the tensors' size; raise ``KeyError`` if it is no decoder."""
    widths = tuple(state[f"down_blocks.{i}.resnets.0.conv2.weight"].shape[0] for i in range(4))
    depth = sum(name.endswith("relative_bias_table") for name in state)
    table = "mid_block.transformer_blocks.0.relative_position_bias.relative_bias_table"
    heads = state[table].shape[-1]
    size = next(
        (s for s in SIZES.values() if (s.widths, s.heads, s.depth) == (widths, heads, depth)),
        DecoderSize(widths, heads, depth),  # type: ignore[arg-type]
    )
    return SSDDDecoder(size, z_dim=state["conv_in.weight"].shape[1] - 3)


def infer_encoder(state: State) -> SSDDEncoder:
    """Build an untrained encoder of the tensors' size; raise ``KeyError`` if it is no encoder."""
    levels = 1 + sum(name.endswith("downsample.conv.weight") for name in state)
    f = {len(multipliers): f for f, multipliers in MULTIPLIERS.items()}[levels]
    z_dim = state["out_proj.weight"].shape[0] // 2
    return SSDDEncoder(f, z_dim, base=state["conv_in.weight"].shape[0])


def load_ssdd(path: Path) -> tuple[SSDDEncoder, SSDDDecoder]:
    """Load an encoder and a decoder, in float32 on the CPU, in evaluation mode.

    Raises:
        WeightsError: the file is missing, damaged, or not an SSDD checkpoint.
    """
    encoder_state, decoder_state = split_state(load_safetensors(path), path)
    try:
        encoder, decoder = infer_encoder(encoder_state), infer_decoder(decoder_state)
    except (KeyError, IndexError) as error:
        raise WeightsError(f"{path} is not an SSDD checkpoint: {error} is missing") from error
    load_strict(encoder, encoder_state, path)
    load_strict(decoder, decoder_state, path)
    return encoder.eval(), decoder.eval()


def load_decoder(path: Path) -> SSDDDecoder:
    """Load a decoder trained on the latents of another model's encoder, as :func:`load_ssdd`.

    Raises:
        WeightsError: the file is missing, damaged, no SSDD decoder, or has its own encoder.
    """
    encoder_state, state = split_state(load_safetensors(path), path)
    if encoder_state:
        raise WeightsError(f"{path} has an encoder of its own: load it without another one")
    try:
        decoder = infer_decoder(state)
    except (KeyError, IndexError) as error:
        raise WeightsError(f"{path} is not an SSDD checkpoint: {error} is missing") from error
    load_strict(decoder, state, path)
    return decoder.eval()
