"""JPEG, the codec everybody knows."""
