"""Tokenizers, metrics, protocols and data sets as plugins: manifests, discovery, registry."""
