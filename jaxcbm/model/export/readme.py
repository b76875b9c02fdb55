"""The page in an exported folder: what lies there and how to load it."""

from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.model.export.program import Program

_PAGE = """# An exported concept bottleneck

| file | what it is |
|---|---|
| `program/predict.stablehlo` | the prediction, compiled for {platforms}; any batch size |
| `program/weights.safetensors` | its weights, image tower and bottleneck: {mib:.1f} MiB |
| `program/program.json` | names of classes and concepts, shapes, preprocessing, versions |
| `model.json`, `model.safetensors` | what `jaxcbm.load_model` opens |
{encoder_row}

## With jax alone

`pip install jax flatbuffers safetensors pillow`; `jax[cuda13]` or `jax[tpu]` where there is one.

```python
import json
from pathlib import Path

import jax
import numpy as np
from jax import export
from PIL import Image
from safetensors.numpy import load_file

folder = Path("program")
said = json.loads((folder / "program.json").read_text())
program = export.deserialize(bytearray((folder / "predict.stablehlo").read_bytes()))
weights = jax.device_put(load_file(folder / "weights.safetensors"))
predict = jax.jit(program.call)  # compiles once for every batch size it meets


{pixels}


def classify(files):
    out = predict(weights, np.stack([pixels(file) for file in files]))
    labels = [said["classes"][k] for k in np.argmax(out["class_logits"], axis=1)]
    return labels, out
```

`out["class_logits"]` is float32 [B, K] and `out["concept_activations"]` float32 [B, D], in the
order of `classes` and `concepts` of `program.json`. The contribution of concept d to class k is
`weights["bottleneck.head.kernel"][d, k] * out["concept_activations"][:, d]`.

jax promises to read such a program for at least six months; after a longer time, or for another
platform, run `jaxcbm export` again: `model.safetensors` does not age.

## With jaxcbm

```python
import jaxcbm

model = jaxcbm.load_model(".")
out = model.predict(images)  # PIL images, or uint8 [N, H, W, 3]
model.explain(images[0], k=10).save("why.html")
```

{encoder_note}
"""

_PIXELS = """def pixels(file):  # what the image tower takes: uint8 [{size}, {size}, 3]
    image = Image.open(file).convert("RGB")
{steps}
    return np.asarray(image)"""


def readme(
    program: Program, preprocess: Preprocess, encoder_name: str, *, with_encoder: bool
) -> str:
    """The whole page, in Markdown."""
    size = sum(array.nbytes for array in program.weights.values()) / 2**20
    row = "| `encoder/` | the whole encoder, text tower and tokenizer included |\n"
    note = (
        "`encoder/` is used instead of the hub."
        if with_encoder
        else f"It loads the encoder by its name, `{encoder_name}`, and refuses another one. "
        "`jaxcbm export --with-encoder` puts a copy into the folder instead."
    )
    return _PAGE.format(
        platforms=", ".join(program.platforms),
        mib=size,
        encoder_row=row if with_encoder else "",
        pixels=_PIXELS.format(size=program.image_size, steps=_steps(preprocess)),
        encoder_note=note,
    )


def _steps(how: Preprocess) -> str:
    """Lines of Python that resize and crop as `Preprocess` does."""
    lines = []
    if how.shortest_edge is not None:
        lines = [
            f"size = [int({how.shortest_edge} * side / min(image.size)) for side in image.size]",
            f"image = image.resize(size, {how.resample})",
        ]
    elif how.resize is not None:
        height, width = how.resize
        lines = [f"image = image.resize(({width}, {height}), {how.resample})"]
    if how.crop is not None:
        height, width = how.crop
        whole = "round(({}) / 2)" if how.rounded_corner else "({}) // 2"
        lines += [
            f"left = {whole.format(f'image.width - {width}')}",
            f"top = {whole.format(f'image.height - {height}')}",
            f"image = image.crop((left, top, left + {width}, top + {height}))",
        ]
    return "\n".join(f"    {line}" for line in lines)
