"""The model's tokenizer, for the two things the worker needs of it: prompts to ids, and ids to bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import InputError, LogdriftError
from core.session.vocabulary import byte_alphabet, token_bytes


class TokenText:
    """A tokenizer of Transformers, loaded lazily from a folder or hub id.

    Raises InputError in one line where it cannot be loaded.
    """

    def __init__(self, model: str, revision: str | None, trust_remote_code: bool) -> None:
        from transformers import AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(
                model, revision=revision, trust_remote_code=trust_remote_code
            )
        except LogdriftError:  # of an engine that dies meanwhile
            raise
        except Exception as error:
            raise InputError(f"model {model}: its tokenizer cannot be loaded: {one_line(error)}") from None
        self._added: Mapping[int, Any] = getattr(self.tokenizer, "added_tokens_decoder", {})
        self._alphabet = byte_alphabet() if self._is_byte_level() else None
        self._sent: set[int] = set()

    def _is_byte_level(self) -> bool:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return False
        return '"ByteLevel"' in json.dumps(json.loads(backend.to_str()).get("decoder") or {})

    @property
    def template(self) -> Any:
        """The chat template: its text, several by name, or None."""
        return getattr(self.tokenizer, "chat_template", None) or None

    def adds_bos(self) -> bool | None:
        """Whether the tokenizer puts its beginning-of-sequence id before a text by itself; None where it cannot say."""
        bos = getattr(self.tokenizer, "bos_token_id", None)
        try:
            ids, plain = self.encode("a"), self.tokenizer("a", add_special_tokens=False)["input_ids"]
        except Exception:  # tokenizers are anybody's code
            return None
        return bos is not None and bool(ids) and ids[0] == bos and list(plain[:1]) != [bos]

    def encode(self, text: str) -> list[int]:
        """Ids of a text, special tokens added once as the tokenizer does by itself."""
        return [int(i) for i in self.tokenizer(text)["input_ids"]]

    def encode_messages(self, messages: Iterable[Mapping[str, Any]]) -> list[int]:
        """Ids of a conversation through the chat template, ready for the assistant's answer.

        Raises LogdriftError where the tokenizer has no template or the template refuses the messages.
        """
        try:
            ids = self.tokenizer.apply_chat_template(
                list(messages), add_generation_prompt=True, tokenize=True, return_dict=False
            )
        except Exception as error:
            raise LogdriftError(f"the chat template refused the messages: {one_line(error)}") from None
        return [int(i) for i in ids]

    def piece(self, token_id: int) -> bytes | None:
        """The bytes a token stands for, None for an id the tokenizer does not know (padding rows of the embedding)."""
        if token_id in self._added:
            return str(self._added[token_id]).encode("utf-8", "surrogatepass")
        token = self.tokenizer.convert_ids_to_tokens(token_id)
        if token is None:
            return None
        if isinstance(token, bytes):  # tiktoken-like tokenizers
            return bytes(token)
        found = token_bytes(str(token), self._alphabet)
        if found is not None:
            return found
        return str(self.tokenizer.decode([token_id])).encode("utf-8", "surrogatepass")

    def new_pieces(self, token_ids: Iterable[int]) -> dict[int, bytes]:
        """Pieces of those ids that were not asked for before."""
        fresh = set(token_ids) - self._sent
        self._sent |= fresh
        return {i: piece for i in sorted(fresh) if i >= 0 and (piece := self.piece(i)) is not None}


def one_line(error: BaseException, limit: int = 300) -> str:
    """An exception as one printable line: its type where the text is empty, the first lines joined otherwise."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
