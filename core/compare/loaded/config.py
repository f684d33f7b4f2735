"""Two backends' configs against each other: the keys that differ, and which of them
change the function computed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from logdrift.core.compare.loaded.difference import (
    Difference,
    ValuesOfSides,
    value_differences,
)
from logdrift.core.json_values import alike, flatten
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.loaded import Loaded

CHANGES_THE_MODEL = re.compile(
    r"(^|_)rope|max_position|sliding_window|soft_?cap|logit_?s?_?scal|num_hidden_layers|tie_word|rms_norm_eps|layer_norm_eps"
    r"|hidden_act|num_experts_per_tok|routed_scaling|query_pre_attn_scalar|attention_multiplier|residual_multiplier"
)
"""Fields of a config that change the function computed."""

_IGNORED = re.compile(
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
        if _IGNORED.search(name):
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
    sides = ValuesOfSides(values_a, values_b)
    differences: list[Difference] = []
    for name in sides.names:
        counts = _counts(name, sides)
        if sides.both_have(name):
            differences += value_differences(name, sides, counts=counts)
        elif sides.is_table_with_entries(name):
            continue
        elif whole or _changes_the_model(name, sides):
            one_sided = sides.one_sided(name, counts=counts)
            differences.append(one_sided)
    differences.sort(key=_counts_nowhere)
    return tuple(differences)


def _counts_nowhere(difference: Difference) -> bool:
    return not difference.counts


def _changes_the_model(name: str, sides: ValuesOfSides) -> bool:
    """Whether a key of one side alone changes the model, and is switched on."""
    if not CHANGES_THE_MODEL.search(name):
        return False
    value_of_b = sides.b.get(name)
    value = sides.a.get(name, value_of_b)
    return value not in (None, False)


def _counts(name: str, sides: ValuesOfSides) -> bool:
    """Whether a score of given ids may depend on a key: on the number of positions only
    where RoPE is scaled by it, or positions are learned.
    """
    if name == "max_position_embeddings":
        types = sides.values_at("rope_parameters.rope_type")
        return types != ("default", "default")
    return not _NO_SCORE.search(name)
