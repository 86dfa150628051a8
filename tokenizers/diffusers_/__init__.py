"""Pretrained autoencoders run by diffusers, by name or from any folder in its layout."""
