"""For authors of renderers, tokenizers, scorers and generators: strategies, and checks of what a contract promises.

from tunix_eval.testing import check_renderer


def test_my_renderer_keeps_the_contract():
    check_renderer(MyRenderer())
"""

try:
    from tunix_eval.testing.checks import check_generator, check_scorer, check_tokenizer
    from tunix_eval.testing.renderers import check_renderer
    from tunix_eval.testing.strategies import completions, conversations, eval_items, texts, traces
except ModuleNotFoundError as error:
    if error.name != "hypothesis":
        raise
    raise ModuleNotFoundError(
        "tunix_eval.testing needs hypothesis; install it with: pip install 'tunix-eval[testing]'"
    ) from error

__all__ = [
    "check_generator",
    "check_renderer",
    "check_scorer",
    "check_tokenizer",
    "completions",
    "conversations",
    "eval_items",
    "texts",
    "traces",
]
