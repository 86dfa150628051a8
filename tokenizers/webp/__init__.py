"""WebP, lossy or lossless."""
