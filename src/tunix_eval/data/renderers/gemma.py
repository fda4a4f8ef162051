"""Gemma's editions."""

from __future__ import annotations

from tunix_eval.data.renderers.edition import InsetSystem, NoSystem


class GemmaRenderer(InsetSystem):
    r"""Gemma 3 (`gemma3`, `gemma`): the system text stands in the first user turn, turns are stripped.

        text        <bos>  <start_of_turn>  user\n{system}\n\n{prompt}  <end_of_turn>  \n
        control     1      1                0                           1              0
        reply       -      -                -                           -              -

        text        <start_of_turn>  model\n  {reply}  <end_of_turn>  \n
        control     1                0        0        1              0
        reply       -                -        1        1              -

    A system turn in an assistant's place is printed as a turn of its own, as the template does.

    Source: the `chat_template` of google/gemma-3-*-it.
    """

    name = "gemma"
    version = "3"
    control_tokens = ("<bos>", "<start_of_turn>", "<end_of_turn>")
    bos_token = "<bos>"  # noqa: S105
    stop_token = "<end_of_turn>"  # noqa: S105
    strips = True
    user = "<start_of_turn>user\n{}<end_of_turn>\n"
    opening = "<start_of_turn>model\n"
    assistant = "<start_of_turn>model\n{}<end_of_turn>\n"
    system = "<start_of_turn>system\n{}<end_of_turn>\n"


class Gemma2Renderer(NoSystem):
    """Gemma 2 (`gemma2`): Gemma 3's turns, and a system text is refused.

    Source: the `chat_template` of google/gemma-2-*-it.
    """

    name = "gemma2"
    control_tokens = GemmaRenderer.control_tokens
    bos_token = GemmaRenderer.bos_token
    stop_token = GemmaRenderer.stop_token
    strips = True
    user = GemmaRenderer.user
    opening = GemmaRenderer.opening
    assistant = GemmaRenderer.assistant
    system = GemmaRenderer.system
