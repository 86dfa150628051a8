"""Open an SSDD checkpoint: with the encoder of its latents, and in the steps that suit it."""

from __future__ import annotations

from pathlib import Path

from ssdd_bench.arguments import whole
from ssdd_bench.errors import OptionError, WeightsError, counted
from ssdd_bench.nn.encoder import SSDDEncoder, VAEEncoder
from ssdd_bench.ssdd.checkpoints import load_encoder, read_export
from ssdd_bench.ssdd.tokenizer import SSDDTokenizer
from ssdd_bench.weights.layout import read_config
from ssdd_bench.weights.models import load_model

STEPS = 8
"""Euler steps of a decoder that is not known to be distilled to one."""

DISTILLED = "distil"
"""Stage of training after which a decoder takes one step."""


def open_ssdd(
    checkpoint: Path,
    steps: int = 0,
    t_pow_shift: float = 2.0,
    encoder: str | Path = "",
    vae: str | Path = "",
) -> SSDDTokenizer:
    """Load a checkpoint, ours or a released one.

    Args:
        checkpoint: safetensors file with ``decoder.*``, and with ``encoder.*`` unless one of the
            last two is given.
        steps: Euler steps; 0 takes those of :func:`known_steps`, or else :data:`STEPS`.
        t_pow_shift: exponent of :func:`ssdd_bench.flow.schedule.power_schedule`.
        encoder: checkpoint whose ``encoder.*`` made the latents; "" for none.
        vae: folder of the AutoencoderKL that made them, in the layout of diffusers; "" for none.

    Returns:
        The tokenizer. It has a warning where the number of steps is a guess.

    Raises:
        OptionError: both encoders are given.
        WeightsError: a file is missing, damaged or of another layout; no encoder, or two.
    """
    if encoder and vae:
        raise OptionError(f"encoder={encoder} and vae={vae}: give one of the two")
    found: SSDDEncoder | VAEEncoder | None = None
    files = [checkpoint]
    if encoder:
        files.append(Path(encoder))
        found = load_encoder(files[-1])
    elif vae:
        found, parts = _load_vae(Path(vae))
        files += parts
    known = known_steps(checkpoint)
    taken = steps or known or STEPS
    made = SSDDTokenizer(checkpoint, taken, t_pow_shift, found)
    made.weights = tuple(files)
    if known is None and (not steps or steps == 1):
        made.warnings = (guess_note(checkpoint, taken),)
    return made


def known_steps(checkpoint: Path) -> int | None:
    """Return the steps that suit a checkpoint, by the file beside it; None if there is none.

    A card names the stage of training: 1 for a distilled decoder, whose tensors look like those of
    another, and else :data:`STEPS`. The config.json of an exported folder names the steps.

    Raises:
        WeightsError: the file beside it is damaged.
        UserError: its number of steps is none.
    """
    card = checkpoint.with_suffix(".json")
    stage = read_config(card).get("stage") if card.is_file() else None
    if stage and isinstance(stage, str):
        return 1 if stage == DISTILLED else STEPS
    saved = read_export(checkpoint)
    return whole("steps", saved.get("steps", 1), 1) if saved else None


def guess_note(checkpoint: Path, steps: int) -> str:
    """Return the warning that a number of steps is a guess, with another one to compare with."""
    return (
        f"{checkpoint.name} is not known to be distilled: decoded in {counted(steps, 'step')}, "
        f"compare with steps={1 if steps > 1 else STEPS}"
    )


def _load_vae(folder: Path) -> tuple[VAEEncoder, list[Path]]:
    model, files = load_model(folder)
    if type(model).__name__ != "AutoencoderKL" or model.quant_conv is None:
        raise WeightsError(
            f"{folder} holds no AutoencoderKL with a quant_conv. Pass the folder of the model "
            "whose latents the decoder was trained on as vae"
        )
    return VAEEncoder.of(model), files
