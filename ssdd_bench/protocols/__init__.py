"""Versioned evaluation protocols. Results are comparable if and only if their hashes match."""
