"""Makes align.npz, what torch's Align embeds for the checkpoints of
tests/encoders/random_bert_families.py.

Needs torch and transformers; the tests that read the file need neither. From the repository's
root:

    pip install torch && python tests/goldens/make_align_goldens.py
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def main() -> None:
    """Embed every variant's inputs by transformers' AlignModel; store unit vectors and scores."""
    import torch
    from transformers import AlignModel

    sys.path.insert(0, str(HERE.parent / "encoders"))
    import random_bert_families as made

    goldens: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        for variant, config in made.VARIANTS.items():
            if config["model_type"] != "align":
                continue
            extra = made.ignorable_tensors(config)
            folder = made.write_checkpoint(Path(scratch) / variant, config, **extra)
            model, loading = AlignModel.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True
            )
            if loading["missing_keys"] or loading["mismatched_keys"]:
                raise SystemExit(f"{variant}: torch reads the weights otherwise: {loading}")
            pixels_BxSxSx3, ids_BxT = made.random_inputs(config)
            ids = torch.from_numpy(ids_BxT).long()
            result = model.eval()(
                input_ids=ids,
                attention_mask=(ids != made.pad_id_of(config)).long(),
                pixel_values=torch.from_numpy(pixels_BxSxSx3).permute(0, 3, 1, 2),
            )
            goldens[f"{variant}.image"] = result.image_embeds.numpy()
            goldens[f"{variant}.text"] = result.text_embeds.numpy()
            goldens[f"{variant}.scores"] = result.logits_per_image.numpy()
    np.savez_compressed(HERE / "align.npz", **goldens)
    print(f"wrote {HERE / 'align.npz'}: {len(goldens)} arrays")


if __name__ == "__main__":
    main()
