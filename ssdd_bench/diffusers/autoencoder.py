"""SSDD's encoder and decoder with the interface of diffusers' ``AutoencoderKL``."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Self

import torch

# `diffusers` looks for ModelMixin in the module of a class when it loads a pipeline.
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import (
    AutoencoderMixin,
    DecoderOutput,
    DiagonalGaussianDistribution,
)
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from ssdd_bench.api import Tokenizer
from ssdd_bench.arguments import number, numbers, whole
from ssdd_bench.data.statistics import ChannelStats, ChannelSums
from ssdd_bench.diffusers.loading import (
    Networks,
    find_checkpoint,
    from_checkpoint,
    from_registry,
    from_tokenizer,
)
from ssdd_bench.diffusers.networks import build_encoder
from ssdd_bench.diffusers.noise import Generators, decoder_noise
from ssdd_bench.diffusers.tiling import Tiling, cut
from ssdd_bench.errors import OptionError, ResolutionError
from ssdd_bench.flow.schedule import power_schedule
from ssdd_bench.nn.decoder import DOWNSAMPLING, DecoderSize, SSDDDecoder
from ssdd_bench.ssdd.checkpoints import EXPORTED, read_export
from ssdd_bench.ssdd.load import guess_note, known_steps
from ssdd_bench.ssdd.tokenizer import solve
from ssdd_bench.weights.models import build_model


class AutoencoderSSDD(ModelMixin, AutoencoderMixin, ConfigMixin):
    """Autoencoder with SSDD's diffusion decoder, in the place of a KL-VAE in a pipeline.

    Images are (B, 3, H, W) in [-1, 1], latents (B, latent_channels, H / f, W / f); H and W are
    multiples of f and of 8. The weights it saves are an SSDD checkpoint.

    Decoding starts from noise. With a ``generator`` it samples its own for each image. Without one
    every image starts from the same field, of ``noise_seed``: results are reproducible, and an
    image does not depend on the others in its batch.

    Latents are standardised inside, by channel, so that ``scaling_factor`` is 1 and
    ``shift_factor`` 0: what a pipeline computes from both leaves latents as they are.

    Args:
        block_out_channels: widths of the encoder, of which there are log2(f) + 1.
        latent_channels: of the latent.
        decoder_block_out_channels: widths of the decoder's four resolutions; the default is size M.
        decoder_attention_heads: of the decoder's transformer.
        decoder_transformer_layers: of the decoder's transformer.
        kl_encoder: arguments of diffusers' ``Encoder``, for the frozen encoder of an
            ``AutoencoderKL``; None for SSDD's own.
        steps: evaluations of the decoder per image, 1 for a distilled one.
        t_pow_shift: exponent of the times of several steps.
        noise_seed: of the field that images start from without a generator.
        scaling_factor: multiplies latents in pipelines, for a diffusion model trained so.
        shift_factor: subtracted from latents before, in some pipelines.
        channel_mean: of the networks' latents; empty for 0.
        channel_std: of the networks' latents; empty for 1.
        force_upcast: True lets some pipelines decode in float32 when the weights are float16.

    Raises:
        UserError: a value is no number of its kind or out of range, or the widths are not those of
            an encoder or a decoder.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ("ResidualBlock", "TransformerBlock", "EncoderBlock")

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        block_out_channels: Sequence[int] = (128, 256, 512, 512),
        latent_channels: int = 4,
        decoder_block_out_channels: Sequence[int] = (96, 192, 288, 288),
        decoder_attention_heads: int = 4,
        decoder_transformer_layers: int = 12,
        kl_encoder: dict[str, Any] | None = None,
        steps: int = 1,
        t_pow_shift: float = 2.0,
        noise_seed: int = 0,
        scaling_factor: float = 1.0,
        shift_factor: float = 0.0,
        channel_mean: Sequence[float] = (),
        channel_std: Sequence[float] = (),
        force_upcast: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        whole("latent_channels", latent_channels, 1)
        for name, values in (("channel_mean", channel_mean), ("channel_std", channel_std)):
            empty = values is None or (isinstance(values, list | tuple) and not values)
            if not empty:
                numbers(name, values, latent_channels, positive=name == "channel_std")
        whole("steps", steps, 1)
        whole("noise_seed", noise_seed)
        number("t_pow_shift", t_pow_shift, positive=True)
        number("scaling_factor", scaling_factor, positive=True)
        number("shift_factor", 0 if shift_factor is None else shift_factor)
        size = DecoderSize.of(
            tuple(decoder_block_out_channels),  # type: ignore[arg-type]
            decoder_attention_heads,
            decoder_transformer_layers,
        )
        self.encoder = build_encoder(tuple(block_out_channels), latent_channels, kl_encoder)
        self.decoder = SSDDDecoder(size, latent_channels)
        self.use_slicing = False
        self.use_tiling = False
        self.tiling = Tiling()

    @classmethod
    def from_mini(cls, name: str, **config: Any) -> Self:
        """Load small networks that are shipped with this package.

        Args:
            name: such as ``f8c4``, one step, or ``f8c4-multistep``; see docs/diffusers.md.
            config: entries of the configuration that differ.

        Raises:
            UnknownNameError: no tokenizer ships networks of this name; names the nearest.
        """
        return cls._wrap(from_registry(name), config)

    @classmethod
    def from_tokenizer(cls, tokenizer: Tokenizer, **config: Any) -> Self:
        """Take the networks of a tokenizer, which are shared with it, and its steps.

        Args:
            tokenizer: one with SSDD's networks, as ``load_tokenizer`` returns it.
            config: entries of the configuration that differ.

        Raises:
            PluginError: its networks are others.
        """
        return cls._wrap(from_tokenizer(tokenizer), config)

    @classmethod
    def from_single_file(cls, path: Path | str, *, vae: Any = None, **config: Any) -> Self:
        """Load a checkpoint of SSDD: one trained here, a released one, or one in a saved folder.

        Beside a file that ``save_pretrained`` wrote, its config.json tells all. Another file has no
        statistics of its latents.

        Args:
            path: a safetensors file, or its address on the Hugging Face Hub. The weights that
                the authors released are CC-BY-NC-4.0.
            vae: the ``AutoencoderKL`` whose latents the decoder was trained on, for a checkpoint
                that holds a decoder only. Its encoder is copied, and its scaling taken over.
            config: entries of the configuration that differ, such as ``steps``: by default 1 if
                the card beside the file says that it is distilled, or else 8, with a warning if
                there is no card.

        Raises:
            WeightsError: the file is missing, damaged, out of reach, or no checkpoint of SSDD.
        """
        file = find_checkpoint(path)
        if vae is None and (saved := read_export(file)):
            made: Self = build_model(saved | config, [file], {EXPORTED: cls})
            return made
        networks = from_checkpoint(file, vae)
        if "steps" not in config and known_steps(file) is None:
            warnings.warn(guess_note(file, networks.config["steps"]), stacklevel=2)
        return cls._wrap(networks, config)

    @classmethod
    def _wrap(cls, networks: Networks, config: dict[str, Any]) -> Self:
        with torch.device("meta"):
            made = cls(**(networks.config | config))
        made.encoder, made.decoder = networks.encoder, networks.decoder
        return made.eval()

    @property
    def f(self) -> int:
        """Pixels per latent cell along one side."""
        return self.encoder.f

    @property
    def post_quant_conv(self) -> nn.Module:
        """First layer of the decoder, whose dtype pipelines ask for after ``force_upcast``."""
        return self.decoder.conv_in

    def enable_tiling(self, tile: int = 512, overlap: float = 0.25) -> None:
        """Encode and decode large images in overlapping tiles, which bounds the memory.

        Overlaps are blended, and the noise is one field for the whole image. A network sees one
        tile only: its attention does not look beyond, and its norms have the tile's statistics, so
        that results differ from those without tiles.

        Args:
            tile: side of a tile in pixels, a multiple of f and of 8.
            overlap: share of a side that neighbours have in common, from 0 to 0.5.

        Raises:
            OptionError: a value is out of range.
        """
        tiling = Tiling(tile, overlap)
        tiling.check(self._cell)
        self.tiling, self.use_tiling = tiling, True

    def enable_layerwise_casting(
        self,
        storage_dtype: torch.dtype = torch.float8_e4m3fn,
        compute_dtype: torch.dtype | None = None,
        skip_modules_pattern: tuple[str, ...] | None = None,
        skip_modules_classes: tuple[type[nn.Module], ...] | None = None,
        non_blocking: bool = False,
    ) -> None:
        """Store most weights in another format than they are computed in, as in diffusers.

        Weights that are not stored so are converted to ``compute_dtype``: norms here have layers of
        their own, which take no maps of another format.

        Args:
            storage_dtype: of the weights between calls.
            compute_dtype: of the weights in a call; None for the present one.
            skip_modules_pattern: names of modules that are computed and stored alike.
            skip_modules_classes: classes of such modules.
            non_blocking: True for conversions that do not wait.
        """
        if compute_dtype is not None:
            self.encoder.to(compute_dtype)
            self.decoder.to(compute_dtype)
        super().enable_layerwise_casting(  # type: ignore[misc]
            storage_dtype, compute_dtype, skip_modules_pattern, skip_modules_classes, non_blocking
        )

    @torch.no_grad()
    def standardise(self, batches: Iterable[Tensor]) -> None:
        """Measure the latents of images, and standardise latents by channel from now on.

        Call it before a diffusion model is trained on the latents; the statistics become part of
        the configuration.

        Args:
            batches: images (B, 3, H, W) in [-1, 1].

        Raises:
            OptionError: there is no batch, or a channel of the latents is constant.
            ResolutionError: a side of the images is no multiple of f and of 8.
        """
        means = (self._moments(images).chunk(2, dim=1)[0].float().cpu() for images in batches)
        sums = [ChannelSums.of(mean.numpy()) for mean in means]
        if not sums:
            raise OptionError("batches is empty. Pass batches of images (B, 3, H, W)")
        stats = reduce(operator.add, sums).stats()
        if constant := [i for i, std in enumerate(stats.std) if not std > 0]:
            raise OptionError(f"channel {constant[0]} of the latents is constant. Pass more images")
        self.register_to_config(  # type: ignore[no-untyped-call]
            channel_mean=list(stats.mean), channel_std=list(stats.std)
        )

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """Encode images to posteriors over latents.

        Args:
            x: (B, 3, H, W) in [-1, 1].
            return_dict: False returns a tuple.

        Returns:
            An object whose ``latent_dist`` has ``sample(generator)`` and ``mode()``.

        Raises:
            ResolutionError: a side of the images is no multiple of f and of 8.
        """
        moments = self._moments(x)
        if stats := self._stats:
            mean, logvar = moments.chunk(2, dim=1)
            logvar = logvar - 2 * mean.new_tensor(stats.std).log().view(1, -1, 1, 1)
            moments = torch.cat([stats.normalise(mean), logvar], dim=1)
        posterior = DiagonalGaussianDistribution(moments)
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    @apply_forward_hook  # type: ignore[untyped-decorator]
    def decode(
        self,
        z: Tensor,
        return_dict: bool = True,
        generator: Generators = None,
        *,
        noise: Tensor | None = None,
    ) -> Any:
        """Decode latents to images.

        Args:
            z: (B, latent_channels, h, w).
            return_dict: False returns a tuple.
            generator: one, or one for each image; None for the field of ``noise_seed``.
            noise: standard normals (B, 3, h * f, w * f) instead.

        Returns:
            An object whose ``sample`` are images (B, 3, h * f, w * f), nominally in [-1, 1].

        Raises:
            ResolutionError: the latents have another number of channels, or the noise has not the
                images' shape.
        """
        channels = self.config["latent_channels"]
        if z.ndim != 4 or z.shape[1] != channels:
            raise ResolutionError(f"latents are {tuple(z.shape)}. Pass (B, {channels}, h, w)")
        size = (z.shape[-2] * self.f, z.shape[-1] * self.f)
        if noise is None:
            noise = decoder_noise(len(z), size, z.device, self.config["noise_seed"], generator)
        elif noise.shape != (len(z), 3, *size):
            raise ResolutionError(
                f"noise is {tuple(noise.shape)}. Pass the images' shape, {(len(z), 3, *size)}"
            )
        if stats := self._stats:
            z = stats.denormalise(z)
        pairs = zip(z.split(1), noise.split(1), strict=True) if self.use_slicing else [(z, noise)]
        images = torch.cat([self._decode(*pair) for pair in pairs])
        return DecoderOutput(sample=images) if return_dict else (images,)

    def forward(
        self,
        sample: Tensor,
        sample_posterior: bool = False,
        return_dict: bool = True,
        generator: torch.Generator | None = None,
    ) -> Any:
        """Encode images and decode their latents.

        Args:
            sample: (B, 3, H, W) in [-1, 1].
            sample_posterior: True samples latents; otherwise they are the modes.
            return_dict: False returns a tuple.
            generator: of the latents and of the decoder's noise.
        """
        posterior = self.encode(sample).latent_dist
        z = posterior.sample(generator) if sample_posterior else posterior.mode()
        return self.decode(z, return_dict, generator)

    @property
    def _cell(self) -> int:
        """Pixels of the smallest square that both networks can take apart."""
        return max(self.f, DOWNSAMPLING)

    @property
    def _stats(self) -> ChannelStats | None:
        mean, std = self.config["channel_mean"], self.config["channel_std"]
        if not (mean or std):
            return None
        channels = self.config["latent_channels"]
        return ChannelStats(tuple(mean or [0.0] * channels), tuple(std or [1.0] * channels))

    def _tiles(self, height: int, width: int) -> bool:
        return self.use_tiling and max(height, width) > self.tiling.tile

    @apply_forward_hook  # type: ignore[untyped-decorator]
    def _moments(self, x: Tensor) -> Tensor:
        """Return mean and logarithm of the variance of the encoder: (B, 2 * channels, h, w)."""
        if any(side % self._cell for side in x.shape[-2:]):
            raise ResolutionError(
                f"images are {x.shape[-1]} x {x.shape[-2]} px. Pass sides that are multiples of "
                f"{self._cell}"
            )
        return torch.cat(
            [self._encode(part) for part in (x.split(1) if self.use_slicing else (x,))]
        )

    def _encode(self, x: Tensor) -> Tensor:
        def moments(part: Tensor) -> Tensor:
            posterior = self.encoder(part)
            return torch.cat([posterior.mean, posterior.logvar], dim=1)

        height, width = x.shape[-2:]
        if not self._tiles(height, width):
            return moments(x)
        cell = self._cell
        return self.tiling.blend(
            lambda rows, columns: moments(cut(x, rows, columns, cell)),
            (height, width),
            cell,
            cell // self.f,
        )

    def _decode(self, z: Tensor, noise: Tensor) -> Tensor:
        height, width = noise.shape[-2:]
        decoder: Any = self.decoder
        if self._tiles(height, width):
            decoder = self._decode_tiles
        times = power_schedule(self.config["steps"], self.config["t_pow_shift"])
        return solve(decoder, z, noise, times, self.dtype)

    def _decode_tiles(self, x: Tensor, t: Tensor, z: Tensor) -> Tensor:
        """Predict the velocity as the decoder does, tile by tile."""
        cell = self._cell

        def velocity(rows: slice, columns: slice) -> Tensor:
            context = cut(z, rows, columns, cell // self.f)
            return self.decoder(cut(x, rows, columns, cell), t, context)

        return self.tiling.blend(velocity, (x.shape[-2], x.shape[-1]), cell, cell)
