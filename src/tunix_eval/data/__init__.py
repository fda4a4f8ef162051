"""Traces, evalsets and datasets; rendering, tokens with their loss mask, packing. NumPy, no JAX."""

from collections.abc import Callable, Mapping

from tunix_eval.data.building.datasets import build_dataset, on_holdout_side
from tunix_eval.data.building.differences import DatasetDifference, TraceChange, diff_datasets, difference_text
from tunix_eval.data.building.exports import EXPORT_FORMATS, export_lines, write_export
from tunix_eval.data.building.folders import read_dataset, write_dataset
from tunix_eval.data.building.manifests import STRATEGIES, dataset_key, manifest_text
from tunix_eval.data.building.selection import select
from tunix_eval.data.building.splits import ContaminatedItem, Contamination, contaminated, contamination, dedupe, split
from tunix_eval.data.building.trace_items import evalset_of
from tunix_eval.data.generators import (
    ADDITION,
    DEV_REASONING,
    DEV_REASONING_BASIC,
    GOLDEN,
    addition_dataset,
    addition_heldout,
    dev_reasoning_basic_dataset,
    dev_reasoning_dataset,
    dev_reasoning_heldout,
    generate_dataset,
    golden_dataset,
)
from tunix_eval.data.questions import eval_v1, eval_v2
from tunix_eval.data.reading.dotted import value_at
from tunix_eval.data.reading.evalsets import evalset_text, make_evalset, read_evalset
from tunix_eval.data.reading.files import written_aside
from tunix_eval.data.reading.history import history_remark
from tunix_eval.data.reading.lenient import LenientRead, Rejected, read_traces_leniently, rejected_text
from tunix_eval.data.reading.lines import file_stem
from tunix_eval.data.reading.mapped_items import MappedItems, map_items
from tunix_eval.data.reading.mapping import SPLIT_RULES, map_records
from tunix_eval.data.reading.predictions import (
    ID_KEYS,
    TEXT_KEYS,
    Prediction,
    Predictions,
    match_predictions,
    read_predictions,
)
from tunix_eval.data.reading.recorded import traces_of_run
from tunix_eval.data.reading.remarks import DataWarning
from tunix_eval.data.reading.traces import (
    TraceCount,
    checked_traces,
    parse_traces,
    read_traces,
    scan_traces,
    trace_line,
    traces_text,
    validate_traces,
)
from tunix_eval.data.reading.writing import write_traces
from tunix_eval.data.renderers import (
    BUILTIN_RENDERERS,
    FAMILIES,
    Edition,
    GemmaRenderer,
    HfRenderer,
    PlainRenderer,
    generation_prompt,
    model_turn,
    system_instruction,
    turn,
    user_turn,
)
from tunix_eval.data.renderers.laws import broken_law, check_conversation, trained_spans
from tunix_eval.data.renderers.styles import (
    STYLES,
    Piece,
    answer_mark,
    conversation,
    model_text,
    prompt_conversation,
    reasoning_pieces,
    reasoning_steps,
)
from tunix_eval.data.tokenizers import ByteTokenizer, HfTokenizer, SentencePieceTokenizer, open_tokenizer
from tunix_eval.data.tokens.packing import fill, pack
from tunix_eval.data.tokens.sequences import (
    check_lengths,
    check_masks,
    encode_answer,
    encode_prompt,
    encode_trace,
    encode_traces,
    sequence_digests,
    sequences_sha256,
    stop_ids,
)
from tunix_eval.data.tokens.truncation import Truncated, truncate
from tunix_eval.records import Dataset, Evalset, Generator, TokenizerFactory

BUILTIN_DATASETS: Mapping[str, Callable[[], Dataset]] = {
    "addition-v1": addition_dataset,
    "dev-reasoning-v1": dev_reasoning_basic_dataset,
    "dev-reasoning-v2": dev_reasoning_dataset,
    "golden-v2": golden_dataset,
}
BUILTIN_EVALSETS: Mapping[str, Callable[[], Evalset]] = {
    "addition-heldout": addition_heldout,
    "dev-reasoning-heldout": dev_reasoning_heldout,
    "eval_v1": eval_v1,
    "eval_v2": eval_v2,
}
BUILTIN_GENERATORS: Mapping[str, Generator] = {
    "addition": ADDITION,
    "dev-reasoning": DEV_REASONING,
    "dev-reasoning-basic": DEV_REASONING_BASIC,
    "golden": GOLDEN,
}
BUILTIN_TOKENIZERS: Mapping[str, TokenizerFactory] = {"bytes": ByteTokenizer}

__all__ = [
    "BUILTIN_DATASETS",
    "BUILTIN_EVALSETS",
    "BUILTIN_GENERATORS",
    "BUILTIN_RENDERERS",
    "BUILTIN_TOKENIZERS",
    "EXPORT_FORMATS",
    "FAMILIES",
    "ID_KEYS",
    "SPLIT_RULES",
    "STRATEGIES",
    "STYLES",
    "TEXT_KEYS",
    "ByteTokenizer",
    "ContaminatedItem",
    "Contamination",
    "DataWarning",
    "DatasetDifference",
    "Edition",
    "GemmaRenderer",
    "HfRenderer",
    "HfTokenizer",
    "LenientRead",
    "MappedItems",
    "Piece",
    "PlainRenderer",
    "Prediction",
    "Predictions",
    "Rejected",
    "SentencePieceTokenizer",
    "TraceChange",
    "TraceCount",
    "Truncated",
    "addition_dataset",
    "addition_heldout",
    "answer_mark",
    "broken_law",
    "build_dataset",
    "check_conversation",
    "check_lengths",
    "check_masks",
    "checked_traces",
    "contaminated",
    "contamination",
    "conversation",
    "dataset_key",
    "dedupe",
    "dev_reasoning_dataset",
    "dev_reasoning_heldout",
    "diff_datasets",
    "difference_text",
    "encode_answer",
    "encode_prompt",
    "encode_trace",
    "encode_traces",
    "evalset_of",
    "evalset_text",
    "export_lines",
    "file_stem",
    "fill",
    "generate_dataset",
    "generation_prompt",
    "history_remark",
    "make_evalset",
    "manifest_text",
    "map_items",
    "map_records",
    "match_predictions",
    "model_text",
    "model_turn",
    "on_holdout_side",
    "open_tokenizer",
    "pack",
    "parse_traces",
    "prompt_conversation",
    "read_dataset",
    "read_evalset",
    "read_predictions",
    "read_traces",
    "read_traces_leniently",
    "reasoning_pieces",
    "reasoning_steps",
    "rejected_text",
    "scan_traces",
    "select",
    "sequence_digests",
    "sequences_sha256",
    "split",
    "stop_ids",
    "system_instruction",
    "trace_line",
    "traces_of_run",
    "traces_text",
    "trained_spans",
    "truncate",
    "turn",
    "user_turn",
    "validate_traces",
    "value_at",
    "write_dataset",
    "write_export",
    "write_traces",
    "written_aside",
]
