"""SSDD as a tokenizer: the networks behind the plugin interface, and their checkpoints."""
