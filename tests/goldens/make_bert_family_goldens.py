"""Makes align.npz and altclip.npz, what torch's models embed for the checkpoints of
tests/encoders/random_bert_families.py.

Needs torch and transformers; the tests that read the files need neither. From the repository's
root:

    pip install torch && python tests/goldens/make_bert_family_goldens.py
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
MODELS = {"align": "AlignModel", "altclip": "AltCLIPModel"}


def main() -> None:
    """Embed every variant's inputs by transformers' models; store unit vectors and scores."""
    import torch

    sys.path.insert(0, str(HERE.parent / "encoders"))
    import random_bert_families as made

    for family in MODELS:
        goldens: dict[str, np.ndarray] = {}
        with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
            for variant, config in made.VARIANTS.items():
                if config["model_type"] == family:
                    folder = Path(scratch) / variant
                    found = embed(family, config, folder)
                    goldens |= {f"{variant}.{name}": array for name, array in found.items()}
        np.savez_compressed(HERE / f"{family}.npz", **goldens)
        print(f"wrote {HERE / family}.npz: {len(goldens)} arrays")


def embed(family: str, config: dict, folder: Path) -> dict[str, np.ndarray]:
    """What torch makes of one variant's inputs."""
    import random_bert_families as made
    import torch
    import transformers

    made.write_checkpoint(folder, config, **made.ignorable_tensors(config))
    model, loading = getattr(transformers, MODELS[family]).from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    if loading["missing_keys"] or loading["mismatched_keys"]:
        raise SystemExit(f"{folder.name}: torch reads the weights otherwise: {loading}")
    pixels_BxSxSx3, ids_BxT = made.random_inputs(config)
    ids = torch.from_numpy(ids_BxT).long()
    result = model.eval()(
        input_ids=ids,
        attention_mask=(ids != made.pad_id_of(config)).long(),
        pixel_values=torch.from_numpy(pixels_BxSxSx3).permute(0, 3, 1, 2),
    )
    return {
        "image": result.image_embeds.numpy(),
        "text": result.text_embeds.numpy(),
        "scores": result.logits_per_image.numpy(),
    }


if __name__ == "__main__":
    main()
