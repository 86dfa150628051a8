"""Tokenizers made of other things: two functions, a diffusers autoencoder, a format of Pillow."""
