"""The model's tokenizer, for the two things the worker needs of it: prompts to ids, and
ids to bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from logdrift.core.errors import LogdriftError
from logdrift.core.session.vocabulary import byte_alphabet, token_bytes
from logdrift.core.worker.chat import Conversation, apply_template, encode_conversation
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
            tokenizer = AutoTokenizer.from_pretrained(
                model, revision=revision, trust_remote_code=trust_remote_code
            )
        except LogdriftError:  # of an engine that dies meanwhile
            raise
        except Exception as error:
            raise cannot_load(model, error, "its tokenizer ") from None
        self.tokenizer: Any = tokenizer
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self._added: Mapping[int, Any] = added
        self._alphabet = byte_alphabet() if self._is_byte_level() else None
        self._sent: set[int] = set()

    def _is_byte_level(self) -> bool:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return False
        pipeline = json.loads(backend.to_str())
        decoder = pipeline.get("decoder") or {}
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
            plain = self._plain("a")
        except Exception:  # tokenizers may run any code
            return None
        begins_with_bos = bos is not None and ids[:1] == [bos]
        tokenised_as_bos = plain[:1] == [bos]
        return begins_with_bos and not tokenised_as_bos

    def encode(self, text: str) -> list[int]:
        """Ids of a text, special tokens added once as the tokenizer does by itself."""
        ids = self.tokenizer(text)["input_ids"]
        return [int(token_id) for token_id in ids]

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

    def encode_talk(self, talk: Conversation) -> list[int]:
        """Ids of a conversation, unchecked; raises what the template raises."""
        return apply_template(self.tokenizer, talk)

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
        newline = self._plain("\n")
        ids = self._plain("\n" + text)
        count = len(newline)
        rest = ids[count:]
        begins_with_newline = count > 0 and ids[:count] == newline
        if begins_with_newline and self._spells(rest, text):
            return rest
        raise LogdriftError(
            "the tokenizer changes the text of the completion: give its ids instead"
            " (token_ids and prompt_length)"
        )

    def _plain(self, text: str) -> list[int]:
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [int(token_id) for token_id in ids]

    def _spells(self, ids: Sequence[int], text: str) -> bool:
        pieces = [self.piece(token_id) or b"" for token_id in ids]
        return b"".join(pieces) == text.encode()

    def piece(self, token_id: int) -> bytes | None:
        """The bytes a token stands for, None for an id the tokenizer does not know
        (padding rows of the embedding).
        """
        added = self._added.get(token_id)
        if added is not None:
            return _encoded(added)
        token = self.tokenizer.convert_ids_to_tokens(token_id)
        if token is None:
            return None
        if isinstance(token, bytes):  # tiktoken-like tokenizers
            return bytes(token)
        piece = token_bytes(str(token), self._alphabet)
        if piece is not None:
            return piece
        return _encoded(self.tokenizer.decode([token_id]))

    def new_pieces(self, token_ids: Iterable[int]) -> dict[int, bytes]:
        """Pieces of those ids that were not asked for before."""
        fresh = set(token_ids) - self._sent
        self._sent |= fresh
        pieces = {}
        for token_id in sorted(fresh):
            if token_id < 0:
                continue
            piece = self.piece(token_id)
            if piece is not None:
                pieces[token_id] = piece
        return pieces


def _encoded(text: Any) -> bytes:
    return str(text).encode("utf-8", "surrogatepass")
