"""Build diffusers autoencoders, and load their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssdd_bench.errors import UserError, WeightsError, reason_of
from ssdd_bench.results.records import NOTHING
from ssdd_bench.weights.files import load_strict, load_tensors
from ssdd_bench.weights.layout import CONFIG, find_weights, read_config

# Files saved before diffusers 0.12 have other names for the attention layers in the middle.
OLD_NAMES = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}

# Entries of configurations that count layers, each of which has a tensor, ...
LAYERS = frozenset(
    {
        *("layers_per_block", "layers_per_down_block", "layers_per_up_block"),
        *("decoder_layers_per_block", "encoder_layers_per_block", "decoder_transformer_layers"),
        *("decoder_num_hidden_layers", "encoder_num_hidden_layers", "num_res_blocks"),
        *("num_dec_blocks", "num_enc_blocks", "num_decoder_blocks", "num_encoder_blocks"),
    }
)
# ... and that have no size. All others count channels or values, which a file must hold.
SIZELESS = frozenset({"noise_seed"})


def load_model(folder: Path, **changes: str) -> tuple[Any, list[Path]]:
    """Load what ``save_pretrained`` of a diffusers autoencoder wrote; see :func:`build_model`.

    Args:
        folder: with a config.json and the weights, see
            :func:`ssdd_bench.weights.layout.choose_weights`.
        changes: entries that replace those of the configuration.

    Returns:
        The model and its weights files.
    """
    config = read_config(folder / CONFIG) | changes
    files = find_weights(folder)
    return build_model(config, files), files


def build_model(
    config: Mapping[str, Any], files: Sequence[Path], classes: Mapping[str, Any] = NOTHING
) -> Any:
    """Build a diffusers autoencoder and load its weights, all of them.

    Args:
        config: the arguments of the class that it names as ``_class_name``.
        files: safetensors, or a pickle of tensors; several in one folder hold a part each.
        classes: by name, beside those of diffusers.

    Returns:
        The model in evaluation mode, in float32.
    """
    import diffusers
    import torch

    file = files[0] if len(files) == 1 else files[0].parent
    name = config.get("_class_name")
    kind = classes.get(name, getattr(diffusers, name, None)) if isinstance(name, str) else None
    if kind is None:
        raise WeightsError(
            f"{files[0].parent}: diffusers {diffusers.__version__} has no class {name}"
        )
    state = {name: one for part in files for name, one in load_tensors(part).items()}
    _check_sizes(config, state, file)
    try:
        model: Any = kind.from_config(config)
    except (UserError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise WeightsError(
            f"{file}: its configuration builds no {name}: {reason_of(error)}"
        ) from error
    for key in getattr(kind, "_keys_to_ignore_on_load_unexpected", None) or ():
        state.pop(key, None)
    for key in ("_latents_mean", "_latents_std"):  # whose shapes no configuration states
        if key in state and hasattr(model, key):
            setattr(model, key, torch.empty_like(state[key], dtype=torch.float32))
    load_strict(model, {_rename(key): tensor for key, tensor in state.items()}, file)
    return model.eval()


def _check_sizes(config: Mapping[str, Any], state: Mapping[str, Any], file: Path) -> None:
    """Refuse a configuration of a model far larger than its file, before it takes all memory."""
    values = sum(tensor.numel() for tensor in state.values())
    for key, value in config.items():
        if key in SIZELESS:
            continue
        if isinstance(value, dict):  # arguments of a part of the model
            _check_sizes(value, state, file)
        most, unit = (len(state), "tensors") if key in LAYERS else (values, "values")
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, int) and one > most:
                raise WeightsError(
                    f"{file}: its configuration has {key} = {one:,}, more than its {most:,} {unit} "
                    "can fill"
                )


def _rename(name: str) -> str:
    if ".attentions." in name:
        for old, new in OLD_NAMES.items():
            name = name.replace(old, new)
    return name
