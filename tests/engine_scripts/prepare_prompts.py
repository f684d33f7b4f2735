"""Runs in Transformers' interpreter: a tokenizer made here, and prompts prepared with
it as a capture does it.

``python prepare_prompts.py LAUNCH REQUEST OUT FOLDER``. The request says which kind of
``tokenizer``, which chat ``template``, how many ``positions``, and ``batches`` of
prompts; the answer has, for each batch, ids, lengths, roles, what becomes of the ids
once more, and the text of prompt and completion, or the error. ``spelled`` are prompts
by the tokens of the vocabulary: one more batch.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

LAUNCH, REQUEST, OUT, FOLDER = map(Path, sys.argv[1:])
runpy.run_path(str(LAUNCH))

CORPUS = [
    "The capital of France is Paris, of course.\n",
    "Name a colour. The colour is blue.\n",
    "get weather Oslo 12 3",
]
SPECIAL = ["<s>", "</s>", "<|end|>"]


def make_tokenizer(kind: str) -> Any:
    """A small tokenizer of a kind that models have: bytes, pieces with a space put
    first, or bytes in lower case.
    """
    import tokenizers

    if kind == "pieces":
        pieces = tokenizers.SentencePieceBPETokenizer()
        pieces.train_from_iterator(
            CORPUS, vocab_size=400, min_frequency=1, special_tokens=["<unk>", *SPECIAL]
        )
        return pieces._tokenizer
    made = tokenizers.ByteLevelBPETokenizer(lowercase=kind == "lower case")
    made.train_from_iterator(
        CORPUS, vocab_size=300, min_frequency=1, special_tokens=SPECIAL
    )
    return made._tokenizer


def make_model(request: dict[str, Any]) -> None:
    """A folder as a model has it, without weights: preparing prompts reads none."""
    from tokenizers import processors
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    inner = make_tokenizer(request["tokenizer"])
    bos = inner.token_to_id("<s>")
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", bos)]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>"
    )
    made.add_special_tokens({"additional_special_tokens": ["<|end|>"]})
    made.chat_template = request["template"]
    made.save_pretrained(FOLDER)
    config = LlamaConfig(
        vocab_size=len(made), max_position_embeddings=request["positions"]
    )
    config.save_pretrained(FOLDER)


def prepared(prompts: list[dict[str, Any]], max_tokens: int) -> dict[str, Any]:
    """What a worker answers for one batch of prompts."""
    from logdrift.core.errors import InputError
    from logdrift.core.plan import SamplingSpec
    from logdrift.core.protocol import ModelSource, PrepareJob
    from logdrift.core.worker.prepare import prepare
    from logdrift.core.worker.tokens import TokenText

    job = PrepareJob(
        model=ModelSource(str(FOLDER)),
        sampling=SamplingSpec(max_tokens=max_tokens),
        prompts=tuple(prompts),
    )
    try:
        found = prepare(job)
    except InputError as error:
        return {"error": str(error)}
    text = TokenText(str(FOLDER), None, False)
    spelled = [
        [
            b"".join(text.piece(i) or b"?" for i in part).decode(errors="replace")
            for part in (ids[:length], ids[length:])
        ]
        for ids, length in zip(found["token_ids"], found["prompt_lengths"], strict=True)
    ]
    return {
        "ids": found["token_ids"],
        "lengths": found["prompt_lengths"],
        "texts": spelled,
        "roles": found["roles"],
        "retokenised": found["retokenised"],
        "max_length": found["max_length"],
    }


def by_tokens(spelled: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Prompts of tokens of the vocabulary as prompts of their ids."""
    from logdrift.core.worker.tokens import TokenText

    tokenizer = TokenText(str(FOLDER), None, False).tokenizer
    prompts = []
    for number, line in enumerate(spelled):
        ids = tokenizer.convert_tokens_to_ids(line["tokens"])
        place = {"words": f"line {number}"}
        prompts.append({**line, "token_ids": ids, "place": place})
    return prompts


if __name__ == "__main__":
    asked = json.loads(REQUEST.read_text())
    make_model(asked)
    batches = asked["batches"]
    if "spelled" in asked:
        batches.append(by_tokens(asked["spelled"]))
    most = asked.get("max_tokens", 16)
    OUT.write_text(json.dumps([prepared(batch, most) for batch in batches]))
