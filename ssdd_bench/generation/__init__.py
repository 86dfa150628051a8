"""Generation: latents of a data set, a DiT trained on them, samples, and their scores."""
