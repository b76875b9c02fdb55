"""Makes clip.npz, what torch's CLIP embeds for the checkpoints of tests/encoders/random_clip.py,
and torch_saved.bin, a file as torch.save writes it.

Needs torch and transformers; the tests that read the files need neither. From the repository's
root:

    pip install torch && python tests/goldens/make_clip_goldens.py
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def _save_tensors(path: Path) -> None:
    """Tensors of several types and layouts, all of them counting up from zero."""
    import torch

    base = torch.arange(24, dtype=torch.float32)
    tensors = {
        "float32": base.reshape(4, 6),
        "float16": base.half().reshape(2, 12),
        "bfloat16": base.bfloat16().reshape(24, 1),
        "int64": torch.arange(24).reshape(1, 24),
        "scalar": torch.tensor(5.0),
        "empty": torch.zeros(0, 3),
        "transposed": base.reshape(4, 6).T,
        "sliced": base[4:16:2],
        "parameter": torch.nn.Parameter(base.reshape(2, 3, 4)),
    }
    torch.save(tensors, path)


def main() -> None:
    """Embed every variant's inputs by transformers' CLIPModel and store the unit vectors."""
    import torch
    from transformers import CLIPModel

    sys.path.insert(0, str(HERE.parent / "encoders"))
    from random_clip import VARIANTS, random_inputs, write_checkpoint

    goldens: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        for name, config in VARIANTS.items():
            folder = write_checkpoint(Path(scratch) / name, config, Path(scratch))
            model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
            pixels_BxSxSx3, ids_BxT = random_inputs(config)
            images = torch.from_numpy(pixels_BxSxSx3).permute(0, 3, 1, 2)
            texts = torch.from_numpy(ids_BxT).long()
            for kind, features in (
                ("image", model.get_image_features(pixel_values=images).pooler_output),
                ("text", model.get_text_features(input_ids=texts).pooler_output),
            ):
                unit = features / features.norm(dim=-1, keepdim=True)
                goldens[f"{name}.{kind}"] = unit.numpy()
    np.savez_compressed(HERE / "clip.npz", **goldens)
    _save_tensors(HERE / "torch_saved.bin")
    print(f"wrote {HERE / 'clip.npz'}: {len(goldens)} arrays")


if __name__ == "__main__":
    main()
