"""Makes siglip.npz, what torch's SigLIP embeds for the checkpoints of
tests/encoders/random_siglip.py, and the ids of its version 1 tokenizer with siglip_spiece.model.

Needs torch, transformers, sentencepiece and protobuf; the tests that read the files need none of
them but sentencepiece. From the repository's root:

    pip install torch sentencepiece protobuf && python tests/goldens/make_siglip_goldens.py
"""

import io
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "encoders"))


def _embeddings() -> dict[str, np.ndarray]:
    import torch
    from random_siglip import VARIANTS, random_inputs, write_checkpoint
    from transformers import SiglipModel

    goldens: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        for name, config in VARIANTS.items():
            folder = write_checkpoint(Path(scratch) / name, name)
            model, report = SiglipModel.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True
            )
            assert not report["missing_keys"] and not report["unexpected_keys"], report
            pixels_BxSxSx3, ids_BxT = random_inputs(config)
            images = torch.from_numpy(pixels_BxSxSx3).permute(0, 3, 1, 2)
            texts = torch.from_numpy(ids_BxT).long()
            out = model.eval()(input_ids=texts, pixel_values=images)
            goldens[f"{name}.image"] = out.image_embeds.numpy()
            goldens[f"{name}.text"] = out.text_embeds.numpy()
            goldens[f"{name}.scores"] = out.logits_per_image.numpy()
    return goldens


def _tokenizer() -> np.ndarray:
    import sentencepiece
    from random_clip import CAPTIONS
    from random_siglip import CONTEXT_LENGTH, PHRASES
    from transformers import SiglipTokenizer

    words = sorted({word for caption in CAPTIONS for word in caption.split()})
    pairs = [f"{first} {second}" for first in words for second in words]
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*CAPTIONS, *pairs, "abcdefghijklmnopqrstuvwxyz 0123456789"]),
        model_writer=file,
        vocab_size=96,
        normalization_rule_name="identity",  # the others add a table of 240 kB
        add_dummy_prefix=False,
        bos_id=-1,
        eos_id=1,
        unk_id=2,
        pad_id=0,
        num_threads=1,
        minloglevel=2,
    )
    path = HERE / "siglip_spiece.model"
    path.write_bytes(file.getvalue())
    tokenizer = SiglipTokenizer(str(path), model_max_length=CONTEXT_LENGTH)
    return tokenizer(PHRASES, padding="max_length", truncation=True, return_tensors="np")[
        "input_ids"
    ].astype(np.int32)


def main() -> None:
    """Embed every variant's inputs by transformers' SiglipModel and store the unit vectors."""
    goldens = {**_embeddings(), "ids": _tokenizer()}
    np.savez_compressed(HERE / "siglip.npz", **goldens)
    print(f"wrote {HERE / 'siglip.npz'}: {len(goldens)} arrays")


if __name__ == "__main__":
    main()
