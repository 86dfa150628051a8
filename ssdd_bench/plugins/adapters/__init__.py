"""Tokenizers made from what users already have, such as the image formats of Pillow."""
