"""The TAESD family: tiny autoencoders that imitate those of large diffusion models."""
