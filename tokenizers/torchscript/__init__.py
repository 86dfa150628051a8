"""Tokenizers exported as programs: TorchScript or ONNX, an encoder and a decoder each."""
