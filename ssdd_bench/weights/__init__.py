"""Weight files: read safely, verified by checksum, fetched on request."""
