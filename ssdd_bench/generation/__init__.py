"""Generation: latents of a data set, samples of a DiT that was trained on them, and a pipeline."""
