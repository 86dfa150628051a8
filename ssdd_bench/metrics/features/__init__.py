"""Networks that turn images into feature vectors, one file per network."""
