"""Bicubic downsampling, the floor that a learnt tokenizer has to beat."""
