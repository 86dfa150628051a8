"""The SSDD checkpoints that the paper's authors released."""
