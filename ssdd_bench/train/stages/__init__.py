"""Training stages: the networks that learn, and their loss."""
