"""Training stages: which networks learn, from which loss."""
