"""Repositories of results and model cards, on disk and on the Hugging Face Hub."""
