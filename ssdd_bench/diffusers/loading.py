"""Find networks of SSDD in checkpoints and among the tokenizers, with their configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import unquote

from ssdd_bench.diffusers.networks import copy_kl_encoder, describe_encoder
from ssdd_bench.errors import PluginError, UnknownNameError
from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder, VAEEncoder
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.ssdd.checkpoints import load_decoder, load_ssdd
from ssdd_bench.ssdd.load import STEPS, known_steps
from ssdd_bench.ssdd.tokenizer import SSDDTokenizer
from ssdd_bench.weights.hub import fetch
from ssdd_bench.weights.layout import CONFIG

ADDRESS: Final = re.compile(
    r"https://huggingface\.co/(?P<repo>[^/]+/[^/]+)/(?:blob|resolve)"
    r"/(?P<revision>[^/]+)/(?P<file>[^?#]+)(?:[?#].*)?"
)


@dataclass(frozen=True)
class Networks:
    """An encoder and a decoder, and the configuration of the autoencoder that they make."""

    encoder: SSDDEncoder | VAEEncoder
    decoder: SSDDDecoder
    config: dict[str, Any]


def from_registry(name: str) -> Networks:
    """Load the small networks of a name, from the tokenizer whose manifest has it.

    Raises:
        UnknownNameError: no manifest has it; names the nearest.
        PluginError: the tokenizer's networks are not those of SSDD.
    """
    found = {key: info for info in TOKENIZERS.all().values() for key in info.mini}
    if name not in found:
        raise UnknownNameError("mini", name, found)
    mini = found[name].mini[name]
    tokenizer = load_tokenizer(TokenizerRequest(found[name].id, mini.options))
    stats = {"channel_mean": list(mini.channel_mean), "channel_std": list(mini.channel_std)}
    networks = from_tokenizer(tokenizer)
    return Networks(networks.encoder, networks.decoder, networks.config | stats)


def from_tokenizer(tokenizer: object) -> Networks:
    """Take the networks of a loaded tokenizer, with its steps.

    Raises:
        PluginError: they are not those of SSDD with its own encoder.
    """
    if not isinstance(tokenizer, SSDDTokenizer) or not isinstance(tokenizer.encoder, SSDDEncoder):
        raise PluginError(
            f"{type(tokenizer).__name__} has not SSDD's networks. Choose a tokenizer that has"
        )
    steps = {"steps": tokenizer.steps, "t_pow_shift": tokenizer.t_pow_shift}
    config = describe_encoder(tokenizer.encoder) | _describe(tokenizer.decoder) | steps
    return Networks(tokenizer.encoder, tokenizer.decoder, config)


def find_checkpoint(path: Path | str) -> Path:
    """Return the path of a checkpoint, fetched if it is an address on the Hub.

    Raises:
        WeightsError: it is out of reach.
    """
    if address := ADDRESS.fullmatch(str(path)):
        file = PurePosixPath(unquote(address["file"]))
        beside = [file.with_suffix(".json"), file.with_name(CONFIG)]  # they know the steps
        revision = unquote(address["revision"])
        folder = fetch(address["repo"], [str(file)], revision, list(map(str, beside)))
        return folder / file
    return Path(path)


def from_checkpoint(path: Path, vae: Any) -> Networks:
    """Load a checkpoint of SSDD; see :meth:`AutoencoderSSDD.from_single_file`."""
    steps = {"steps": known_steps(path) or STEPS}
    if vae is None:
        encoder, decoder = load_ssdd(path)
        return Networks(encoder, decoder, describe_encoder(encoder) | _describe(decoder) | steps)
    copied, config = copy_kl_encoder(vae)
    decoder = load_decoder(path)
    return Networks(copied, decoder, config | _describe(decoder) | steps)


def _describe(decoder: SSDDDecoder) -> dict[str, Any]:
    size = decoder.size
    return {
        "decoder_block_out_channels": list(size.widths),
        "decoder_attention_heads": size.heads,
        "decoder_transformer_layers": size.depth,
    }
