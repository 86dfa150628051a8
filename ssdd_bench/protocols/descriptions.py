"""Meanings of a protocol's settings, for people. Nothing here is hashed, or decides a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

KEYED: Final = "normal, by seed and image id, the same bits on every machine"

MEANINGS: Final[Mapping[str, Mapping[Any, str]]] = {
    "kind": {
        "reconstruction": "reconstructions against the images that were encoded",
        "generation": "samples of a model of latents against a reference set",
    },
    "dtype": {
        "float32": "32-bit weights",
        "bfloat16": "bfloat16 weights, images and noise in 32 bits",
        "float16": "16-bit weights, images and noise in 32 bits",
    },
    "autocast": {
        "none": "no operation rounds to fewer bits",
        "bfloat16": "torch's autocast to bfloat16 around the networks",
    },
    "tf32": {True: "matrix products may round to TF32", False: "no TF32"},
    "quantization": {"round once": "clamp to [0, 1] and round(255 x), once"},
    "frechet": {
        "float64 moments": "float32 features, float64 moments, symmetric eigenvalues; "
        "sFID reads its map in the order height, width, channel"
    },
    "colour": {
        "rgb on white": "RGB; grey replicated; alpha on white; EXIF orientation (except that of "
        "TIFF) and colour profile ignored"
    },
    "crop": {
        "adm": "halve by box while the short side is twice the size or more, then bicubic, then "
        "the centre",
        "bilinear": "Pillow's bilinear on the short side, then the centre",
    },
    "reference": {
        "crops": "the uint8 crops that were encoded",
        "training moments": "moments of the training set, from ADM's npz of the resolution",
    },
    "posterior": {"mode": "the encoder's mode", "sample": "one sample per image"},
    "encoder_noise": {"philox": KEYED},
    "decoder_noise": {
        "philox": KEYED,
        "ordered": "normal, from one CPU generator with the run's seed, image after image",
    },
    "lpips_padding": {
        True: "images are padded with zeros to a power of two before LPIPS",
        False: "LPIPS at the images' own size",
    },
    "dreamsim_resize": {
        True: "images are resized to 224 px before DreamSim",
        False: "DreamSim at the images' own size",
    },
    "labels": {
        "equal": "the same number of each class, in a fixed shuffled order",
        "random": "each uniform over the classes, by seed and sample index",
    },
    "noise": {
        "philox": "normal, start and every step by seed and sample index, the same bits everywhere",
        "keyed": "normal, start and every step by seed and sample index, from torch's generator",
    },
    "flow_sampler": {"euler": "Euler steps of the ODE"},
    "ddpm_sampler": {"ddpm": "ancestral DDPM at respaced timesteps"},
    "guided_channels": {"all": "all channels of the latent"},
    "guidance_interval": {
        "whole": "guidance, where there is any, at all times",
        "any": "guidance at the times that the row states",
    },
    "statistics": {
        "per channel": "latents standardised per channel, by statistics kept with the hash of the "
        "tokenizer's weights",
        "by the tokenizer": "latents scaled by the tokenizer's one factor for all channels",
    },
    "inception_score": {
        "ten shuffled parts": "logits without bias, ten parts after a seeded shuffle"
    },
    "precision_recall": {
        "three neighbours": "k = 3, pooled features, against the 10,000 images of ADM's npz"
    },
}


def describe(setting: str, value: Any) -> str:
    """Say what a value of a setting means; "" for names, numbers and lists, which say it all.

    Examples:
        >>> describe("posterior", "sample")
        'one sample per image'
    """
    if isinstance(value, list | tuple | dict):
        return ""
    return MEANINGS.get(setting, {}).get(value, "")
