"""Evaluation: one streamed pass for quality, timed calls for speed, a result per job."""
