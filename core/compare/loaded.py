"""Two backends' configs, tokenizers and chat templates against each other: the keys
that differ, with both values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logdrift.core.json_values import alike, flatten, shown
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.loaded import Loaded

CHANGES_THE_MODEL = re.compile(
    r"(^|_)rope|max_position|sliding_window|soft_?cap|logit_?s?_?scal|num_hidden_layers|tie_word|rms_norm_eps|layer_norm_eps"
    r"|hidden_act|num_experts_per_tok|routed_scaling|query_pre_attn_scalar|attention_multiplier|residual_multiplier"
)
"""Fields of a config that change the function computed."""
NOT_THERE = "not there"
SHOWN = 4
"""Keys that a sentence names; `report --json` and the settings screen have all."""

_DIGESTS_DIFFER = ("one", "another")
"""What stands for values of which digests alone are kept."""
_SPELLING = re.compile(
    r"^_|^(transformers_version|architectures|torch_dtype|dtype|head_dtype|use_cache|auto_map|return_dict|torchscript"
    r"|output_\w+|id2label|label2id|problem_type|task_specific_params|tokenizer_class|gradient_checkpointing"
    r"|pruned_heads|chunk_size_feed_forward|finetuning_task|vocab_size|\w*attn_implementation|\w*experts_implementation)"
    r"(\.|$)"
)
"""Keys that no score depends on, or that a fact of its own tells: which release wrote
the file, where it lay, the dtype, attention kernels, vocabulary and model class.
"""
_NO_SCORE = re.compile(
    r"token_ids?$|_dropout$|_pdrop$|^dropout|initializer_|pretraining_tp|^(temperature|top_[kp]|min_p|do_sample|max_length"
    r"|min_length|num_beams|repetition_penalty)$"
)
"""Keys that change what is generated or trained, and no score of given ids."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One key with the values of both sides as text; ``counts`` says whether a score of
    given ids may depend on it.
    """

    name: str
    a: str
    b: str
    counts: bool = True

    @property
    def text(self) -> str:
        values = (self.a, self.b)
        if values == _DIGESTS_DIFFER:
            return self.name
        return f"{self.name} {self.a} against {self.b}"

    @property
    def key(self) -> str:
        """The name without the place in a list."""
        key, _, _ = self.name.partition("[")
        return key


def sentence(differences: Sequence[Difference]) -> str:
    """``rope_theta 1000000 against 10000, sliding_window 64 against not there and 3
    more``.
    """
    named = differences[:SHOWN]
    texts = [difference.text for difference in named]
    listed = ", ".join(texts)
    more = len(differences) - SHOWN
    if more > 0:
        return f"{listed} and {more:,} more"
    return listed


def one_writer(a: CaptureInfo, b: CaptureInfo) -> bool:
    """Whether one release of Transformers wrote both configs for one engine, so that
    both have the same keys.
    """
    if a.engine != b.engine:
        return False
    facts_a = a.facts
    facts_b = b.facts
    if facts_a is None or facts_b is None:
        return False
    release_a = facts_a.transformers_version
    release_b = facts_b.transformers_version
    if release_a is None:
        return False
    return release_a == release_b


@dataclass(frozen=True, slots=True)
class _ValuesOfSides:
    """Configs or tokenizers of both sides, flat by dotted names."""

    a: Mapping[str, Any]
    b: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """The keys of either side, those of A first."""
        names = dict.fromkeys(self.a)
        names |= dict.fromkeys(self.b)
        return list(names)

    def both_have(self, name: str) -> bool:
        return name in self.a and name in self.b

    def is_table_with_entries(self, name: str) -> bool:
        """Whether a key is an empty table on one side and has entries on the other."""
        values = self.values_at(name)
        if {} not in values:
            return False
        begin = f"{name}."
        entries = [other for other in self.names if other.startswith(begin)]
        return bool(entries)

    def values_at(self, name: str) -> tuple[Any, Any]:
        """The values of both sides, None where there is none."""
        value_a = self.a.get(name)
        value_b = self.b.get(name)
        return value_a, value_b

    def one_sided(self, name: str, *, counts: bool = True) -> Difference:
        """The difference at a key that only one side has."""
        return Difference(
            name=name,
            a=_shown_entry(self.a, name),
            b=_shown_entry(self.b, name),
            counts=counts,
        )


def _shown_entry(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return NOT_THERE
    value = values[name]
    return shown(value)


# ---- configs


def config_values(loaded: Loaded) -> dict[str, Any]:
    """The config flat by dotted names, spelled as Transformers 5 does, without the keys
    that mean nothing.
    """
    config = loaded.config or {}
    return canonical(config)


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config, or some fields of one, flat by dotted names, in one spelling for all
    engines and releases.
    """
    fields = dict(config)
    text_config = fields.pop("text_config", None)
    fields |= _table(text_config)
    fields = _with_rope_parameters(fields)
    values = flatten(fields)
    names = list(values)
    for name in names:
        if _SPELLING.search(name):
            del values[name]
    return values


def _with_rope_parameters(fields: dict[str, Any]) -> dict[str, Any]:
    """Transformers 4 wrote ``rope_theta`` and ``rope_scaling``, Transformers 5 writes
    one table ``rope_parameters``.
    """
    older_parameters = fields.pop("rope_scaling", None)
    parameters = fields.get("rope_parameters")
    rope = _table(older_parameters)
    rope |= _table(parameters)
    if _has_tables(rope):
        # One table for each kind of layer.
        for kind, value in rope.items():
            table = _table(value)
            rope[kind] = _one_rope(table)
    elif rope or "rope_theta" in fields:
        rope = _one_rope(rope)
        _move_theta(fields, rope)
    if rope:
        fields["rope_parameters"] = rope
    return fields


def _has_tables(table: Mapping[str, Any]) -> bool:
    return any(isinstance(value, Mapping) for value in table.values())


def _move_theta(fields: dict[str, Any], rope: dict[str, Any]) -> None:
    """Move ``rope_theta`` into the table.

    Another value beside the table stays: the engine reads one of the two.
    """
    theta = fields.get("rope_theta")
    if theta is None:
        return
    theta_in_table = rope.setdefault("rope_theta", theta)
    if alike(theta_in_table, theta):
        del fields["rope_theta"]


def _one_rope(table: Mapping[str, Any]) -> dict[str, Any]:
    """``type`` is the older name of ``rope_type``, and without either it is the default
    one.
    """
    rope = dict(table)
    older_type = rope.pop("type", "default")
    rope.setdefault("rope_type", older_type)
    return rope


def _table(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    return {}


def config_differences(a: Loaded, b: Loaded, *, whole: bool) -> tuple[Difference, ...]:
    """What differs between the two resolved configs, what counts first.

    ``whole``: both have all keys (`one_writer`), so that one which a side lacks is a
    difference. Between releases it is as a rule a new name for a default, and counts
    only where the key changes the model.
    """
    have_configs = a.config is not None and b.config is not None
    if not have_configs:
        return ()
    values_a = config_values(a)
    values_b = config_values(b)
    sides = _ValuesOfSides(values_a, values_b)
    differences: list[Difference] = []
    for name in sides.names:
        counts = _counts(name, sides)
        if sides.both_have(name):
            differences += _value_differences(name, sides, counts=counts)
        elif sides.is_table_with_entries(name):
            continue
        elif whole or _changes_the_model(name, sides):
            one_sided = sides.one_sided(name, counts=counts)
            differences.append(one_sided)
    differences.sort(key=_counts_nowhere)
    return tuple(differences)


def _counts_nowhere(difference: Difference) -> bool:
    return not difference.counts


def _changes_the_model(name: str, sides: _ValuesOfSides) -> bool:
    """Whether a key of one side alone changes the model, and is switched on."""
    if not CHANGES_THE_MODEL.search(name):
        return False
    value_of_b = sides.b.get(name)
    value = sides.a.get(name, value_of_b)
    return value not in (None, False)


def _counts(name: str, sides: _ValuesOfSides) -> bool:
    """Whether a score of given ids may depend on a key: on the number of positions only
    where RoPE is scaled by it, or positions are learned.
    """
    if name == "max_position_embeddings":
        types = sides.values_at("rope_parameters.rope_type")
        return types != ("default", "default")
    return not _NO_SCORE.search(name)


def _value_differences(
    name: str, sides: _ValuesOfSides, *, counts: bool = True
) -> Iterator[Difference]:
    """The difference at a key that both sides have, if there is one."""
    a, b = sides.values_at(name)
    if alike(a, b):
        return
    are_lists = isinstance(a, list) and isinstance(b, list)
    have_same_length = are_lists and len(a) == len(b)
    if have_same_length:
        name, a, b = _first_entry(name, a, b)
    text_a = shown(a)
    text_b = shown(b)
    yield Difference(name, text_a, text_b, counts)


def _first_entry(name: str, a: list[Any], b: list[Any]) -> tuple[str, Any, Any]:
    """The first entry that differs: its name, which says how many others do, and both
    values.
    """
    places = []
    entries = zip(a, b, strict=True)
    for place, (entry_a, entry_b) in enumerate(entries):
        if not alike(entry_a, entry_b):
            places.append(place)
    first = places[0]
    others = len(places) - 1
    name = f"{name}[{first}]"
    if others:
        name = f"{name} and {others:,} more"
    return name, a[first], b[first]


def all_differences(
    a: Loaded, b: Loaded, *, whole: bool
) -> dict[str, tuple[Difference, ...]]:
    """Differences of ``config``, ``tokenizer`` and ``chat_template``."""
    return {
        "config": config_differences(a, b, whole=whole),
        "tokenizer": tokenizer_differences(a, b),
        "chat_template": template_differences(a, b),
    }


# ---- tokenizers


def tokenizer_values(loaded: Loaded) -> dict[str, Any]:
    """The tokenizer flat by dotted names, without the digests of its vocabulary."""
    kept = loaded.tokenizer or {}
    tokenizer = dict(kept)
    for name in _DIGESTS:
        tokenizer.pop(name, None)
    return flatten(tokenizer)


_DIGESTS = ("vocabulary_blocks", "merges_digest", "added_digest", "block_ids")


def tokenizer_differences(a: Loaded, b: Loaded) -> tuple[Difference, ...]:
    """What differs between the tokenizers: how ids are text first, then how text is
    cut.
    """
    if a.tokenizer is None or b.tokenizer is None:
        return ()
    values_a = tokenizer_values(a)
    values_b = tokenizer_values(b)
    sides = _ValuesOfSides(values_a, values_b)
    vocabularies = _vocabularies(a.tokenizer, b.tokenizer)
    differences = list(vocabularies)
    for name in sides.names:
        if sides.both_have(name):
            differences += _value_differences(name, sides)
        elif not sides.is_table_with_entries(name):
            one_sided = sides.one_sided(name)
            differences.append(one_sided)
    return tuple(differences)


def _vocabularies(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    """Ranges of ids that stand for other texts, from one digest a block; merges and
    added tokens beyond those listed.
    """
    size = a.get("block_ids")
    size_of_b = b.get("block_ids")
    if isinstance(size, int) and size == size_of_b:
        other_blocks = _other_blocks(a, b, size)
        for first_block, last_block in _runs(other_blocks):
            next_block = last_block + 1
            first = first_block * size
            last = next_block * size - 1
            name = f"text of ids {first:,} to {last:,}"
            yield Difference(name, *_DIGESTS_DIFFER)
    if _has_other_digest("merges_digest", a, b):
        merges_a = a.get("merges")
        merges_b = b.get("merges")
        text_a = shown(merges_a)
        text_b = shown(merges_b)
        yield Difference("merges", text_a, f"{text_b} others")
    if _has_other_digest("added_digest", a, b):
        yield Difference("added tokens beyond those listed", *_DIGESTS_DIFFER)


def _has_other_digest(name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether both sides have a digest, and not the same."""
    digest_a = a.get(name)
    digest_b = b.get(name)
    if digest_a is None or digest_b is None:
        return False
    return bool(digest_a != digest_b)


def _other_blocks(a: Mapping[str, Any], b: Mapping[str, Any], size: int) -> list[int]:
    """Blocks of ids with other texts.

    The block in which one vocabulary ends is left out: the sizes show that.
    """
    blocks_a = _list(a.get("vocabulary_blocks"))
    blocks_b = _list(b.get("vocabulary_blocks"))
    others = []
    blocks = zip(blocks_a, blocks_b, strict=False)
    for number, (block_a, block_b) in enumerate(blocks):
        if block_a != block_b:
            others.append(number)
    ids_a = a.get("vocabulary")
    ids_b = b.get("vocabulary")
    if ids_a == ids_b:
        return others
    known_ids = [ids for ids in (ids_a, ids_b) if isinstance(ids, int)]
    shared_ids = min(known_ids, default=0)
    shared = []
    for number in others:
        stop = (number + 1) * size
        if stop <= shared_ids:
            shared.append(number)
    return shared


def _list(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    return []


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Consecutive numbers as first and last."""
    first: int | None = None
    last = -1
    for number in numbers:
        if first is None:
            first = number
        elif number != last + 1:
            yield first, last
            first = number
        last = number
    if first is not None:
        yield first, last


# ---- chat templates


def template_differences(a: Loaded, b: Loaded) -> tuple[Difference, ...]:
    """The first line that differs in each chat template, by its number from 1. No score
    of given ids depends on it.
    """
    if a.templates is None or b.templates is None:
        return ()
    sides = _ValuesOfSides(a.templates, b.templates)
    differences = []
    for name in sides.names:
        template_a, template_b = sides.values_at(name)
        if template_a != template_b:
            difference = _template_difference(name, template_a, template_b)
            differences.append(difference)
    return tuple(differences)


def _template_difference(name: str, a: str | None, b: str | None) -> Difference:
    if name == "default":
        what = "chat_template"
    else:
        what = f"chat_template {name}"
    if a is None or b is None:
        length_a = _length(a)
        length_b = _length(b)
        return Difference(what, length_a, length_b, counts=False)
    return _first_line(what, a, b)


def _length(template: str | None) -> str:
    if template is None:
        return NOT_THERE
    length = len(template)
    return f"{length:,} characters"


def _first_line(what: str, a: str, b: str) -> Difference:
    """The first line that differs, each from shortly before its first other
    character.
    """
    lines_a = a.split("\n")
    lines_b = b.split("\n")
    index = _first_unequal(lines_a, lines_b)
    line_a = _line(lines_a, index)
    line_b = _line(lines_b, index)
    if line_a is None or line_b is None:
        column = 0
    else:
        column = _first_unequal(line_a, line_b)
    number = index + 1
    return Difference(
        name=f"{what} line {number}",
        a=_shown_line(line_a, column),
        b=_shown_line(line_b, column),
        counts=False,
    )


def _first_unequal(a: Sequence[str], b: Sequence[str]) -> int:
    """The first place in which two texts or lists of lines differ; the length of the
    shorter where none does.
    """
    parts = zip(a, b, strict=False)
    for place, (part_a, part_b) in enumerate(parts):
        if part_a != part_b:
            return place
    length_a = len(a)
    length_b = len(b)
    return min(length_a, length_b)


def _line(lines: Sequence[str], index: int) -> str | None:
    if index < len(lines):
        return lines[index]
    return None


_BEFORE = 20
"""Characters of a line that are shown before the first that differs."""


def _shown_line(line: str | None, column: int) -> str:
    """A line from shortly before ``column``; its absence where there is none."""
    if line is None:
        return NOT_THERE
    start = max(0, column - _BEFORE)
    if start == 0:
        return shown(line)
    rest = line[start:]
    return shown(f"…{rest}")
