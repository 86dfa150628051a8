"""External weights of metrics: which there are, where they lie, how they are fetched."""
