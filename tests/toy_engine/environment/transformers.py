"""What a worker needs of Transformers, for a model whose tokens are ASCII characters:
the environment of every engine has it.
"""

from __future__ import annotations

from typing import Any


class Config:
    vocab_size = 64
    max_position_embeddings = 128

    def get_text_config(self) -> Config:
        return self


class Tokenizer:
    chat_template = None
    bos_token_id = None

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(character) % 64 for character in text]}

    def convert_ids_to_tokens(self, token_id: int) -> bytes:
        return bytes([64 + token_id])


class AutoConfig:
    @staticmethod
    def from_pretrained(model: str, **_: Any) -> Config:
        return Config()


class AutoTokenizer:
    @staticmethod
    def from_pretrained(model: str, **_: Any) -> Tokenizer:
        return Tokenizer()
