"""Tokenizers: plain text to ids and back, control tokens apart."""

from tunix_eval.data.tokenizers.bytes import ByteTokenizer
from tunix_eval.data.tokenizers.hf import HfTokenizer
from tunix_eval.data.tokenizers.opening import open_tokenizer
from tunix_eval.data.tokenizers.sentencepiece import SentencePieceTokenizer

__all__ = ["ByteTokenizer", "HfTokenizer", "SentencePieceTokenizer", "open_tokenizer"]
