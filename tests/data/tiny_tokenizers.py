"""Tokenizers trained on the spot, one of each kind that models come with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CONTROLS = ("<bos>", "<start_of_turn>", "<end_of_turn>", "<eos>")
CORPUS = [
    "The answer is 42. Reasoning: add the numbers, then subtract.",
    "Answer: 7\nAnswer: 12\nAnswer: 825 and 3+4=7, 12*3=36.",
    "user\nWhat is two plus two?\nmodel\nReasoning:\n1. two plus two is four\nAnswer: 4",
    "naïve café, über, 東京 and a tab\there; user: model: #### 811",
] * 8


def save(tokenizer: Tokenizer, path: Path, **changes: Any) -> Path:
    document = json.loads(tokenizer.to_str())
    path.write_text(json.dumps(document | changes), encoding="utf-8")
    return path


def byte_level(path: Path, *, special: bool = True, pad: bool = True) -> Path:
    """A GPT-like BPE on bytes, whose own settings put a BOS and a space before every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokens = [AddedToken(name, special=special, normalized=False) for name in (*(["<pad>"] if pad else []), *CONTROLS)]
    tokenizer.add_tokens(tokens)
    bos = tokenizer.token_to_id("<bos>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", bos)])
    tokenizer.enable_truncation(5)
    return save(tokenizer, path)


def metaspace(path: Path, *, legacy: bool) -> Path:
    """A BPE on characters or bytes, as Llama 2 (legacy: a normaliser that prepends) and Mistral have."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    space = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    if legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = space
    names = ["<unk>", "<pad>", *CONTROLS, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=450, special_tokens=names, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    document = json.loads(tokenizer.to_str())
    added = [token for token in document["added_tokens"] if not token["content"].startswith("<0x")]
    return save(tokenizer, path, added_tokens=added)


def word_piece(path: Path) -> Path:
    """A lower-casing WordPiece, which loses text."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=["[PAD]", "[UNK]", *CONTROLS], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return save(tokenizer, path)


def unigram(path: Path) -> Path:
    """A Unigram model whose pieces hold the control tokens' names, so that its lattice finds them in any text."""
    vocabulary = [("<unk>", 0.0), *((name, -1.0) for name in CONTROLS)]
    vocabulary += [(chr(code), -10.0) for code in range(32, 127)] + [("▁", -10.0)]
    vocabulary += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in CONTROLS])
    return save(tokenizer, path)


def sentence_piece(path: Path, *, normaliser: str = "identity", **options: Any) -> Path:
    """A sentencepiece BPE with Gemma's way of naming turns: as user-defined symbols."""
    corpus = path.with_suffix(".txt")
    corpus.write_text("\n".join(CORPUS), encoding="utf-8")
    settings = {
        "model_type": "bpe",
        "vocab_size": 420,
        "byte_fallback": True,
        "user_defined_symbols": ["<start_of_turn>", "<end_of_turn>"],
        "bos_piece": "<bos>",
        "eos_piece": "<eos>",
        "pad_id": 3,
        "normalization_rule_name": normaliser,
        "remove_extra_whitespaces": False,
        "minloglevel": 2,
        "hard_vocab_limit": False,
    }
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(path.with_suffix("")), **(settings | options)
    )
    return path
