"""The KL-VAE of latent diffusion, run by diffusers."""
