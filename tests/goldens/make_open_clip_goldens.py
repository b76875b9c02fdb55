"""Makes open_clip.npz, what open_clip embeds for the checkpoints of
tests/encoders/random_open_clip.py, and the pixels that its transforms make.

Needs torch and open_clip; the tests that read the file need neither. From the repository's root:

    pip install torch open_clip_torch && python tests/goldens/make_open_clip_goldens.py
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "encoders"))


def _embeddings() -> dict[str, np.ndarray]:
    import torch
    from open_clip.model import CLIP, CustomTextCLIP
    from random_open_clip import VARIANTS, open_clip_tensors, random_inputs

    goldens: dict[str, np.ndarray] = {}
    with torch.inference_mode():
        for name, config in VARIANTS.items():
            sizes = dict(config["model_cfg"])
            model = (CustomTextCLIP if sizes.pop("custom_text", False) else CLIP)(**sizes).eval()
            tensors = {n: torch.from_numpy(a) for n, a in open_clip_tensors(name).items()}
            model.load_state_dict(tensors, strict=True)
            pixels_BxSxSx3, ids_BxT = random_inputs(config)
            images = torch.from_numpy(pixels_BxSxSx3).permute(0, 3, 1, 2)
            goldens[f"{name}.image"] = model.encode_image(images, normalize=True).numpy()
            texts = torch.from_numpy(ids_BxT).long()
            goldens[f"{name}.text"] = model.encode_text(texts, normalize=True).numpy()
    return goldens


def _pixels() -> dict[str, np.ndarray]:
    from open_clip.transform import image_transform
    from PIL import Image
    from random_open_clip import PICTURES, TRANSFORMS

    goldens: dict[str, np.ndarray] = {}
    for name, (mode, interpolation) in TRANSFORMS.items():
        transform = image_transform(
            32,
            is_train=False,
            mean=(0.0,) * 3,
            std=(1.0,) * 3,
            resize_mode=mode,
            interpolation=interpolation,
        )
        made = [transform(Image.fromarray(picture)).permute(1, 2, 0) for picture in PICTURES]
        goldens[f"pixels.{name}"] = np.stack([np.rint(x.numpy() * 255) for x in made]).astype("u1")
    return goldens


def main() -> None:
    """Embed every variant's inputs by open_clip and store the unit vectors and pixels."""
    goldens = {**_embeddings(), **_pixels()}
    np.savez_compressed(HERE / "open_clip.npz", **goldens)
    print(f"wrote {HERE / 'open_clip.npz'}: {len(goldens)} arrays")


if __name__ == "__main__":
    main()
