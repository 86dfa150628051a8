"""Measuring: one pass over the images for quality, timed calls for speed, a file per cell."""
