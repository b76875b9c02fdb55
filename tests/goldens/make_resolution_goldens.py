"""Makes resolution.npz, what torch's CLIP and SigLIP embed at other resolutions than their own.

Needs torch and transformers; the tests that read the file need neither. From the repository's
root:

    pip install torch && python tests/goldens/make_resolution_goldens.py
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "encoders"))


def main() -> None:
    """Embed noise of several sizes by transformers' models with interpolated positions."""
    import random_siglip
    import torch
    from random_clip import VARIANTS, write_checkpoint
    from test_resolution import SIZES, noise
    from transformers import CLIPModel, SiglipModel

    goldens: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        clip = write_checkpoint(Path(scratch) / "clip", VARIANTS["quick_gelu"], Path(scratch))
        siglip = random_siglip.write_checkpoint(Path(scratch) / "siglip", "tanh_gelu")
        for name, kind, folder in (("clip", CLIPModel, clip), ("siglip", SiglipModel, siglip)):
            model = kind.from_pretrained(folder, dtype=torch.float32).eval()
            for size in SIZES:
                features = model.get_image_features(
                    pixel_values=torch.from_numpy(noise(size)).permute(0, 3, 1, 2),
                    interpolate_pos_encoding=True,
                ).pooler_output
                unit = features / features.norm(dim=-1, keepdim=True)
                goldens[f"{name}.{size}"] = unit.numpy()
    np.savez_compressed(HERE / "resolution.npz", **goldens)
    print(f"wrote {HERE / 'resolution.npz'}: {len(goldens)} arrays")


if __name__ == "__main__":
    main()
