"""Owns the name of the handler `huggingface_api`: models asked by the Hugging Face Inference API and its relatives."""

from mindsql_engines.huggingface.engine import HuggingFaceEngine

__all__ = ["HuggingFaceEngine"]
