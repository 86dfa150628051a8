"""SSDD in one step, the distilled decoder."""
