"""Auxiliary loss terms with networks of their own: perceptual, REPA and GAN."""
