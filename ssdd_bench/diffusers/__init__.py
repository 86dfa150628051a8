"""SSDD for the library diffusers: an autoencoder that pipelines take in the place of a KL-VAE.

>>> from ssdd_bench.diffusers import AutoencoderSSDD
>>> vae = AutoencoderSSDD.from_mini("f8c4")
"""

from ssdd_bench.diffusers.autoencoder import AutoencoderSSDD

__all__ = ["AutoencoderSSDD"]
