"""What docs/inference.md shows in Python says what it shows."""

import doctest
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "inference.md"


def test_every_example_says_what_it_shows():
    text = PAGE.read_text(encoding="utf-8")
    shown = "\n".join(re.findall(r"^```pycon\n(.*?)^```", text, re.M | re.S))
    for name in ("jax.jit(", "jax.vmap(", "jax.grad(", "jax.shard_map(", "batch_inference("):
        assert name in shown
    examples = doctest.DocTestParser().get_doctest(shown, {}, PAGE.name, str(PAGE), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert runner.run(examples).failed == 0
