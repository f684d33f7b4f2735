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
        if (self.a, self.b) == _DIGESTS_DIFFER:
            return self.name
        return f"{self.name} {self.a} against {self.b}"

    @property
    def key(self) -> str:
        """The name without the place in a list."""
        return self.name.partition("[")[0]


def sentence(differences: Sequence[Difference]) -> str:
    """``rope_theta 1000000 against 10000, sliding_window 64 against not there and 3
    more``.
    """
    said = ", ".join(each.text for each in differences[:SHOWN])
    more = len(differences) - SHOWN
    if more > 0:
        return f"{said} and {more:,} more"
    return said


def one_writer(a: CaptureInfo, b: CaptureInfo) -> bool:
    """Whether one release of Transformers wrote both configs for one engine, so that
    both have the same keys.
    """
    if a.engine != b.engine or a.facts is None or b.facts is None:
        return False
    release = a.facts.transformers_version
    return release is not None and release == b.facts.transformers_version


# ---- configs


def config_values(loaded: Loaded) -> dict[str, Any]:
    """The config flat by dotted names, spelled as Transformers 5 does, without the keys
    that mean nothing.
    """
    return canonical(loaded.config or {})


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config, or some fields of one, flat by dotted names, in one spelling for all
    engines and releases.
    """
    fields = dict(config)
    text = fields.pop("text_config", None)
    if isinstance(text, Mapping):
        fields |= text
    fields = _with_rope_parameters(fields)
    return {
        name: value
        for name, value in flatten(fields).items()
        if not _SPELLING.search(name)
    }


def _with_rope_parameters(fields: dict[str, Any]) -> dict[str, Any]:
    """Transformers 4 wrote ``rope_theta`` and ``rope_scaling``, Transformers 5 writes
    one table ``rope_parameters``.
    """
    rope = _table(fields.get("rope_parameters"))
    scaling = fields.get("rope_scaling")
    if isinstance(scaling, Mapping):
        rope = {**scaling, **rope}
    fields.pop("rope_scaling", None)
    if any(isinstance(value, Mapping) for value in rope.values()):
        # One table for each kind of layer.
        rope = {kind: _one_rope(_table(value)) for kind, value in rope.items()}
    elif rope or "rope_theta" in fields:
        rope = _one_rope(rope)
        theta = fields.get("rope_theta")
        if theta is not None and alike(rope.setdefault("rope_theta", theta), theta):
            # Another value beside the table stays: the engine reads one of the two.
            del fields["rope_theta"]
    if rope:
        fields["rope_parameters"] = rope
    return fields


def _one_rope(table: Mapping[str, Any]) -> dict[str, Any]:
    """``type`` is the older name of ``rope_type``, and without either it is the default
    one.
    """
    rope = {name: value for name, value in table.items() if name != "type"}
    rope.setdefault("rope_type", table.get("type", "default"))
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
    if a.config is None or b.config is None:
        return ()
    left = config_values(a)
    right = config_values(b)
    found: list[Difference] = []
    for name in dict.fromkeys([*left, *right]):
        if name in left and name in right:
            found += _value_differences(
                name, left[name], right[name], counts=_counts(name, left, right)
            )
        elif _is_told_by_entries(name, left, right):
            continue
        elif whole or (
            CHANGES_THE_MODEL.search(name)
            and left.get(name, right.get(name)) not in (None, False)
        ):
            found.append(_one_sided(name, left, right))
    return tuple(sorted(found, key=lambda each: not each.counts))


def _counts(name: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether a score of given ids may depend on a key: on the number of positions only
    where RoPE is scaled by it, or positions are learned.
    """
    if name == "max_position_embeddings":
        types = {side.get("rope_parameters.rope_type") for side in (left, right)}
        return types != {"default"}
    return not _NO_SCORE.search(name)


def _value_differences(
    name: str, a: Any, b: Any, *, counts: bool = True
) -> Iterator[Difference]:
    if alike(a, b):
        return
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        at = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if not alike(x, y)]
        if len(at) > 1:
            more = f" and {len(at) - 1:,} more"
        else:
            more = ""
        yield Difference(
            f"{name}[{at[0]}]{more}", shown(a[at[0]]), shown(b[at[0]]), counts
        )
    else:
        yield Difference(name, shown(a), shown(b), counts)


def _is_told_by_entries(
    name: str, left: Mapping[str, Any], right: Mapping[str, Any]
) -> bool:
    """An empty table on one side, where the other side has entries of it."""
    is_empty = {} in (left.get(name), right.get(name))
    return is_empty and any(other.startswith(f"{name}.") for other in (*left, *right))


def _one_sided(
    name: str, left: Mapping[str, Any], right: Mapping[str, Any]
) -> Difference:
    a, b = (shown(side[name]) if name in side else NOT_THERE for side in (left, right))
    return Difference(name, a, b, _counts(name, left, right))


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
    return flatten(
        {
            name: value
            for name, value in (loaded.tokenizer or {}).items()
            if name not in _DIGESTS
        }
    )


_DIGESTS = ("vocabulary_blocks", "merges_digest", "added_digest", "block_ids")


def tokenizer_differences(a: Loaded, b: Loaded) -> tuple[Difference, ...]:
    """What differs between the tokenizers: how ids are text first, then how text is
    cut.
    """
    if a.tokenizer is None or b.tokenizer is None:
        return ()
    left = tokenizer_values(a)
    right = tokenizer_values(b)
    found = [*_vocabularies(a.tokenizer, b.tokenizer)]
    for name in dict.fromkeys([*left, *right]):
        if name in left and name in right:
            found += _value_differences(name, left[name], right[name])
        elif not _is_told_by_entries(name, left, right):
            found.append(_one_sided(name, left, right))
    return tuple(found)


def _vocabularies(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    """Ranges of ids that stand for other texts, from one digest a block; merges and
    added tokens beyond those listed.
    """
    size = a.get("block_ids")
    if isinstance(size, int) and size == b.get("block_ids"):
        for first, last in _runs(_other_blocks(a, b, size)):
            yield Difference(
                f"text of ids {first * size:,} to {(last + 1) * size - 1:,}",
                *_DIGESTS_DIFFER,
            )
    if (
        None not in (a.get("merges_digest"), b.get("merges_digest"))
        and a["merges_digest"] != b["merges_digest"]
    ):
        yield Difference(
            "merges", shown(a.get("merges")), f"{shown(b.get('merges'))} others"
        )
    if (
        None not in (a.get("added_digest"), b.get("added_digest"))
        and a["added_digest"] != b["added_digest"]
    ):
        yield Difference("added tokens beyond those listed", *_DIGESTS_DIFFER)


def _other_blocks(a: Mapping[str, Any], b: Mapping[str, Any], size: int) -> list[int]:
    """Blocks of ids with other texts; the block in which one vocabulary ends is told by
    its size.
    """
    blocks = [_list(side.get("vocabulary_blocks")) for side in (a, b)]
    sizes = [side.get("vocabulary") for side in (a, b)]
    differ = [i for i, (x, y) in enumerate(zip(*blocks, strict=False)) if x != y]
    if sizes[0] == sizes[1]:
        return differ
    end = min((count for count in sizes if isinstance(count, int)), default=0)
    return [block for block in differ if (block + 1) * size <= end]


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
    found = []
    for name in dict.fromkeys([*a.templates, *b.templates]):
        if name == "default":
            what = "chat_template"
        else:
            what = f"chat_template {name}"
        if name not in a.templates or name not in b.templates:
            found.append(
                Difference(
                    what,
                    _length(a.templates, name),
                    _length(b.templates, name),
                    counts=False,
                )
            )
        elif a.templates[name] != b.templates[name]:
            found.append(_first_line(what, a.templates[name], b.templates[name]))
    return tuple(found)


def _first_line(what: str, a: str, b: str) -> Difference:
    left = a.split("\n")
    right = b.split("\n")
    at = next(
        (i for i, (x, y) in enumerate(zip(left, right, strict=False)) if x != y),
        min(len(left), len(right)),
    )
    parting = _parting(left, right, at)
    return Difference(
        f"{what} line {at + 1}",
        _line(left, at, parting),
        _line(right, at, parting),
        counts=False,
    )


def _length(templates: Mapping[str, str], name: str) -> str:
    if name in templates:
        return f"{len(templates[name]):,} characters"
    return NOT_THERE


_BEFORE = 20
"""Characters of a line that are shown before the first that differs."""


def _parting(left: Sequence[str], right: Sequence[str], at: int) -> int:
    """The first character in which two lines differ; 0 where one side has no such
    line.
    """
    if at >= min(len(left), len(right)):
        return 0
    pairs = enumerate(zip(left[at], right[at], strict=False))
    return next(
        (i for i, (x, y) in pairs if x != y), min(len(left[at]), len(right[at]))
    )


def _line(lines: Sequence[str], at: int, parting: int) -> str:
    if at >= len(lines):
        return NOT_THERE
    start = max(0, parting - _BEFORE)
    return shown(("…" if start else "") + lines[at][start:])
