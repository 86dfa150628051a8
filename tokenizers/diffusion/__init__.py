"""The multi-step diffusion decoder that SSDD is distilled from."""
