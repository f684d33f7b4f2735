"""The model's tokenizer, for the two things the worker needs of it: prompts to ids, and
ids to bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from logdrift.core.errors import LogdriftError
from logdrift.core.session.vocabulary import byte_alphabet, token_bytes
from logdrift.core.worker.chat import Conversation, encode_conversation
from logdrift.core.worker.hub import cannot_load
from logdrift.core.worker.one_line import one_line


class TokenText:
    """A tokenizer of Transformers, loaded lazily from a folder or hub id.

    Raises InputError in one line where it cannot be loaded.
    """

    def __init__(
        self, model: str, revision: str | None, trust_remote_code: bool
    ) -> None:
        from transformers import AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(
                model, revision=revision, trust_remote_code=trust_remote_code
            )
        except LogdriftError:  # of an engine that dies meanwhile
            raise
        except Exception as error:
            raise cannot_load(model, error, "its tokenizer ") from None
        self._added: Mapping[int, Any] = getattr(
            self.tokenizer, "added_tokens_decoder", {}
        )
        self._alphabet = byte_alphabet() if self._is_byte_level() else None
        self._sent: set[int] = set()

    def _is_byte_level(self) -> bool:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return False
        decoder = json.loads(backend.to_str()).get("decoder") or {}
        return '"ByteLevel"' in json.dumps(decoder)

    @property
    def template(self) -> Any:
        """The chat template: its text, several by name, or None."""
        return getattr(self.tokenizer, "chat_template", None) or None

    def adds_bos(self) -> bool | None:
        """Whether the tokenizer puts its beginning-of-sequence id before a text by
        itself; None where it cannot say.
        """
        bos = getattr(self.tokenizer, "bos_token_id", None)
        try:
            ids = self.encode("a")
            plain = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        except Exception:  # tokenizers are anybody's code
            return None
        begins_with_bos = bos is not None and list(ids[:1]) == [bos]
        tokenised_as_bos = list(plain[:1]) == [bos]
        return begins_with_bos and not tokenised_as_bos

    def encode(self, text: str) -> list[int]:
        """Ids of a text, special tokens added once as the tokenizer does by itself."""
        return [int(i) for i in self.tokenizer(text)["input_ids"]]

    def encode_messages(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        arguments: Mapping[str, Any] | None = None,
        ending: str = "answer",
    ) -> list[int]:
        """Ids of a conversation through the chat template:
        `logdrift.core.worker.chat.Conversation` says what is what.

        Raises LogdriftError where the tokenizer has no template, or the template
        refuses or would not use what is given.
        """
        talk = Conversation(
            messages=messages, tools=tools, arguments=arguments, ending=ending
        )
        try:
            return encode_conversation(self.tokenizer, talk)
        except LogdriftError:
            raise
        except Exception as error:  # templates raise what they like
            raise LogdriftError(
                f"the chat template refused the messages: {one_line(error)}"
            ) from None

    def encode_completion(self, text: str) -> list[int]:
        """Ids of a text that goes on after a prompt: tokenised by itself, without
        special tokens added.

        Tokenizers that put a space before every text are asked again behind a newline,
        whose ids are taken off. Raises LogdriftError where the ids do not stand for
        exactly this text.
        """
        ids = self._plain(text)
        if self._spells(ids, text):
            return ids
        before = self._plain("\n")
        ids = self._plain("\n" + text)
        rest = ids[len(before) :]
        if before and ids[: len(before)] == before and self._spells(rest, text):
            return rest
        raise LogdriftError(
            "the tokenizer changes the text of the completion: give its ids instead"
            " (token_ids and prompt_length)"
        )

    def _plain(self, text: str) -> list[int]:
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [int(token_id) for token_id in ids]

    def _spells(self, ids: Sequence[int], text: str) -> bool:
        return b"".join(self.piece(i) or b"" for i in ids) == text.encode()

    def piece(self, token_id: int) -> bytes | None:
        """The bytes a token stands for, None for an id the tokenizer does not know
        (padding rows of the embedding).
        """
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
        pieces = {}
        for token_id in sorted(fresh):
            piece = self.piece(token_id) if token_id >= 0 else None
            if piece is not None:
                pieces[token_id] = piece
        return pieces
