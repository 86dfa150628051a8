"""Networks without training or input/output: the SSDD decoder, its encoder and their blocks."""
