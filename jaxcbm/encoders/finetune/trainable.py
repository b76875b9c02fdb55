r"""Which parameters of an encoder train: rules on their paths, of which the first match wins.

`^text\.=freeze; ^vision\.blocks\.1[01]\.=train; ^vision\.=lora` trains the last two blocks of the
image tower, adapts its other matrices, and freezes the rest: what no rule matches is frozen.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast, get_args

from jaxcbm.encoders.finetune.lora import LoraConfig
from jaxcbm.errors import UserError

Mode = Literal["frozen", "lora", "full", "rules"]
Action = Literal["train", "freeze", "lora"]

# Statistics of batch normalisation are no parameters. Scale and bias of the scores are constants
# of the bottleneck, whose own weights say the same.
_NEVER = re.compile(r"(\.mean|\.variance|^logit_scale|^logit_bias)$")
_MATRIX = re.compile(r"\.(kernel|matrix)$")


class Rule(NamedTuple):
    """What happens to some parameters.

    Attributes:
        pattern: regular expression that is found in their paths.
        action: train them, freeze them, or give them an adapter.
    """

    pattern: str
    action: Action


class Trainable(NamedTuple):
    """Parameters that change, by path; the others stay.

    Attributes:
        train: those that train themselves.
        lora: those that get an adapter.
    """

    train: tuple[str, ...]
    lora: tuple[str, ...]


def rules_of(mode: Mode, rules: str, lora: LoraConfig) -> tuple[Rule, ...]:
    r"""The rules that a setting stands for.

    Args:
        mode: `lora` adapts what `lora.where` matches, `full` trains the image tower, `rules` does
            what the next argument says, `frozen` nothing.
        rules: `PATTERN=train`, `=freeze` or `=lora`, separated by semicolons.
        lora: where adapters go.

    Raises:
        UserError: a rule that cannot be read, or rules that the mode does not read.

    >>> rules_of("full", "", LoraConfig())
    (Rule(pattern='^vision\\.', action='train'),)
    """
    if rules and mode != "rules":
        raise UserError(f"config.encoder.rules has no effect with train={mode}: set train=rules")
    if mode == "rules":
        return tuple(_parse(text.strip()) for text in rules.split(";") if text.strip())
    return {
        "frozen": (),
        "lora": (Rule(lora.where, "lora"),),
        "full": (Rule(r"^vision\.", "train"),),
    }[mode]


def trainable(params: Mapping[str, Any], rules: tuple[Rule, ...]) -> Trainable:
    """Apply rules to parameters.

    Args:
        params: arrays or shapes by path.
        rules: the first whose pattern is found in a path decides on it.

    Raises:
        UserError: a pattern that is no regular expression, matches no path, or matches nothing
            that its action applies to; rules that train nothing.

    >>> import numpy as np
    >>> shapes = {"vision.q.kernel": np.zeros((2, 2)), "vision.q.bias": np.zeros(2)}
    >>> trainable(shapes, (Rule("kernel", "lora"), Rule("vision", "train")))
    Trainable(train=('vision.q.bias',), lora=('vision.q.kernel',))
    """
    taken: dict[str, Action] = {}
    for rule in rules:
        matched = [path for path in params if _found(rule, path)]
        if not matched:
            raise UserError(f"encoder rule {_said(rule)} matches no parameter ({_names(params)})")
        usable = [path for path in matched if _applies(rule.action, path, params[path])]
        if not usable:
            kind = "matrix" if rule.action == "lora" else "parameter that can train"
            raise UserError(f"encoder rule {_said(rule)} matches no {kind}, only {_names(matched)}")
        for path in matched:
            taken.setdefault(path, rule.action if path in usable else "freeze")
    train, lora = (
        tuple(path for path in params if taken.get(path) == action) for action in ("train", "lora")
    )
    if not train and not lora:
        raise UserError(
            "nothing of the encoder trains: give a rule such as ^vision\\.=lora, or set "
            "config.encoder.train=frozen"
        )
    return Trainable(train, lora)


def _parse(text: str) -> Rule:
    pattern, equals, action = text.rpartition("=")
    if not equals or not pattern or action.strip() not in get_args(Action):
        raise UserError(
            f"encoder rule {text!r}: write PATTERN=train, PATTERN=freeze or PATTERN=lora"
        )
    # Checked above to be one of the literals.
    return Rule(pattern.strip(), cast(Action, action.strip()))


def _found(rule: Rule, path: str) -> bool:
    try:
        return re.search(rule.pattern, path) is not None
    except re.error as error:
        raise UserError(f"encoder rule {_said(rule)}: no regular expression ({error})") from error


def _applies(action: Action, path: str, value: Any) -> bool:
    if action == "lora":
        return len(value.shape) == 2 and _MATRIX.search(path) is not None
    return action == "freeze" or _NEVER.search(path) is None


def _said(rule: Rule) -> str:
    return repr(f"{rule.pattern}={rule.action}")


def _names(paths: Mapping[str, Any] | list[str], count: int = 6) -> str:
    """Some of the names, blocks counted once."""
    kinds = list(dict.fromkeys(re.sub(r"\.\d+\.", ".N.", path) for path in paths))
    more = ", ..." if len(kinds) > count else ""
    return ", ".join(kinds[:: max(len(kinds) // count, 1)][:count]) + more
