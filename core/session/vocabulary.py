"""The bytes that the entries of a vocabulary stand for, without any library."""

from __future__ import annotations

from collections.abc import Mapping


def byte_alphabet() -> dict[str, int]:
    """Character -> byte of the byte-level BPE alphabet (GPT-2): printable bytes stand
    for themselves, the others are shifted to U+0100 and on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in printable}
    shifted = [byte for byte in range(256) if byte not in printable]
    for index, byte in enumerate(shifted):
        alphabet[chr(0x100 + index)] = byte
    return alphabet


def token_bytes(token: str, alphabet: Mapping[str, int] | None) -> bytes | None:
    """The bytes that a vocabulary's entry stands for, by the rules of byte-level and
    SentencePiece tokenizers.

    ``alphabet`` is `byte_alphabet` for a byte-level tokenizer, else None. None where no
    rule applies.
    """
    if alphabet is not None:
        values = [alphabet[char] for char in token if char in alphabet]
        if len(values) == len(token):
            return bytes(values)
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    if "▁" in token:
        return token.replace("▁", " ").encode("utf-8", "surrogatepass")
    return None
