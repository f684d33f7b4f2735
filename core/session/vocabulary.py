"""The bytes that the entries of a vocabulary stand for, without any library."""

from __future__ import annotations

from collections.abc import Mapping


def byte_alphabet() -> dict[str, int]:
    """Character -> byte of the byte-level BPE alphabet (GPT-2): printable bytes stand
    for themselves, the others are shifted to U+0100 and on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in printable}
    shifted = 0x100
    for byte in range(256):
        if byte not in printable:
            alphabet[chr(shifted)] = byte
            shifted += 1
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
    if _is_byte(token):
        digits = token[3:5]
        return bytes([int(digits, 16)])
    if "▁" in token:
        text = token.replace("▁", " ")
        return text.encode("utf-8", "surrogatepass")
    return None


def _is_byte(token: str) -> bool:
    """The entry stands for one byte, such as ``<0xE2>``."""
    if len(token) != 6:
        return False
    return token.startswith("<0x") and token.endswith(">")
