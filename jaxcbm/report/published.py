"""Accuracies that others published, as data with their sources. Nothing here was measured by us."""

from typing import NamedTuple

DATASETS = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "cub": "CUB-200",
    "places365": "Places365",
    "imagenet": "ImageNet",
}
_ALIASES = {
    "caltech_birds2011": "cub",
    "cub200": "cub",
    "places365_small": "places365",
    "imagenet2012": "imagenet",
}


class Publication(NamedTuple):
    """Where numbers stand: the paper, its address, and the place they were read from."""

    paper: str
    url: str
    place: str


class Published(NamedTuple):
    """One published row.

    Attributes:
        method: what `MethodResult.published_as` refers to.
        name: as the source calls it.
        setting: its encoder.
        source: key of `SOURCES`.
        accuracies: dataset to per cent.
        nec: where the accuracy is that at a number of effective concepts.
    """

    method: str
    name: str
    setting: str
    source: str
    accuracies: dict[str, float]
    nec: int | None = None


SOURCES = {
    "sparse-cbm": Publication(
        "Semenov et al. 2024, Sparse Concept Bottleneck Models: Gumbel Tricks in Contrastive "
        "Learning (arXiv 2404.03323)",
        "https://arxiv.org/abs/2404.03323",
        "README of its repository, Andron00e/SparseCBM",
    ),
    "sparse-cbm-notebooks": Publication(
        "Semenov et al. 2024 (arXiv 2404.03323)",
        "https://arxiv.org/abs/2404.03323",
        "recorded outputs of experiments/cub_interpret.ipynb and run_backbones.ipynb in its "
        "repository",
    ),
    "label-free-cbm": Publication(
        "Oikarinen et al. 2023, Label-Free Concept Bottleneck Models (arXiv 2304.06129)",
        "https://arxiv.org/abs/2304.06129",
        "README of its repository, Trustworthy-ML-Lab/Label-free-CBM",
    ),
    "vlg-cbm": Publication(
        "Srivastava et al. 2024, VLG-CBM: Training Concept Bottleneck Models with "
        "Vision-Language Guidance (arXiv 2408.01432)",
        "https://arxiv.org/abs/2408.01432",
        "README of its repository, Trustworthy-ML-Lab/VLG-CBM",
    ),
    "mm-cbm": Publication(
        "Shi et al. 2026, Multimodal Concept Bottleneck Models (arXiv 2606.19882)",
        "https://arxiv.org/abs/2606.19882",
        "images/CBM_result.png and CLIP_result.png of its repository, "
        "Trustworthy-ML-Lab/Multi-Modal-CBM",
    ),
    "cdm": Publication(
        "Panousis et al. 2023, Sparse Linear Concept Discovery Models (arXiv 2308.10782)",
        "https://arxiv.org/abs/2308.10782",
        "README of its repository, konpanousis/ConceptDiscoveryModels",
    ),
}

_UNSTATED = "not stated beside the numbers"
_L14 = "CLIP ViT-L/14"
_MIXED = "CLIP RN50, ResNet-18 or ResNet-50, by dataset"


def _rows(
    source: str,
    setting: str,
    lines: dict[tuple[str, str], tuple[float | None, ...]],
    nec: int | None = None,
) -> list[Published]:
    return [
        Published(
            method,
            name,
            setting,
            source,
            {key: x for key, x in zip(DATASETS, values, strict=True) if x is not None},
            nec,
        )
        for (method, name), values in lines.items()
    ]


# In each line: CIFAR-10, CIFAR-100, CUB-200, Places365, ImageNet.
PUBLISHED: tuple[Published, ...] = (
    *_rows(
        "sparse-cbm",
        _L14,
        {
            ("sparse-cbm", "Sparse-CBM"): (91.17, 74.88, 80.02, 41.34, 71.61),
            ("l1-cbm", "l1-CBM"): (85.11, 73.24, 74.91, 40.87, 71.02),
            ("contrastive-cbm", "Contrastive-CBM"): (84.75, 68.46, 67.04, 40.22, 70.22),
            ("linear-probe", "Linear probing"): (96.12, 80.03, 79.29, 48.33, 83.90),
            ("concept-matrix-search", "CMS"): (85.03, 62.95, 65.17, 39.43, 77.82),
            ("zero-shot", "Zero-shot CLIP"): (81.79, 52.84, 62.63, 41.12, 76.20),
        },
    ),
    *_rows(
        "sparse-cbm",
        _UNSTATED,
        {
            ("label-free-cbm", "Label-free CBM"): (86.40, 65.13, 74.31, 43.68, 71.95),
            ("post-hoc-cbm", "Post-hoc CBM (CLIP)"): (83.34, 57.20, 63.92, 39.66, 62.57),
            ("labo", "LaBo (fully supervised)"): (87.90, 69.10, 71.80, 39.43, 70.40),
            ("description-cls", "DescriptionCLS"): (81.61, 68.32, 63.46, 40.55, 75.00),
        },
    ),
    *_rows(
        "sparse-cbm-notebooks",
        f"{_L14}, 370 concepts, 10 epochs",
        {
            ("sparse-cbm", "gumbel"): (None, None, 57.62, None, None),
            ("contrastive-cbm", "contrastive"): (None, None, 58.93, None, None),
        },
    ),
    *_rows(
        "label-free-cbm",
        _MIXED,
        {
            ("label-free-cbm", "Label-free CBM"): (86.37, 65.27, 74.59, 43.71, 71.98),
            ("standard", "Standard"): (88.80, 70.10, 76.70, 48.56, 76.13),
            ("standard-sparse", "Standard (sparse)"): (82.96, 58.34, 75.96, 38.46, 74.35),
        },
    ),
    *_rows(
        "vlg-cbm",
        _MIXED,
        {
            ("vlg-cbm", "VLG-CBM"): (88.55, 65.73, 75.79, 41.92, 73.15),
            ("label-free-cbm", "LF-CBM"): (84.05, 56.52, 53.51, 37.65, 60.30),
            ("labo", "LaBo"): (78.69, 44.82, None, None, None),
            ("lm4cv", "LM4CV"): (53.72, 14.64, None, None, None),
            ("random-concepts", "Random concepts"): (67.55, 29.52, 68.91, 17.57, 41.49),
        },
        nec=5,
    ),
    *_rows(
        "vlg-cbm",
        "CLIP RN50",
        {
            ("vlg-cbm", "VLG-CBM"): (88.55, 65.73, 60.38, None, 59.74),
            ("label-free-cbm", "LF-CBM"): (84.05, 56.52, 31.35, None, 52.88),
            ("labo", "LaBo"): (78.69, 44.82, 41.97, None, 24.27),
            ("lm4cv", "LM4CV"): (53.72, 14.64, 3.63, None, 3.77),
            ("random-concepts", "Random concepts"): (67.55, 29.52, 25.37, None, 18.04),
        },
        nec=5,
    ),
    *_rows(
        "mm-cbm",
        _UNSTATED,
        {("mm-cbm", "MM-CBM"): (88.69, 66.34, 58.79, None, 70.49)},
        nec=5,
    ),
    *_rows(
        "mm-cbm",
        _L14,
        {
            ("mm-cbm", "MM-CBM, fine-tuned"): (97.5, 84.1, 75.0, None, 81.9),
            ("mm-cbm", "MM-CBM, zero-shot"): (95.3, 75.7, 36.3, None, 66.1),
            ("linear-probe", "Linear probe"): (98.0, 87.5, 84.5, None, 83.9),
            ("zero-shot", "Zero-shot CLIP"): (96.2, 77.9, 62.3, None, 75.3),
        },
    ),
    *_rows(
        "cdm",
        "CLIP ViT-B/16",
        {
            ("cdm", "CDM with Z"): (95.30, 80.50, 79.50, 52.58, 79.30),
            ("cdm-without-masks", "CDM without Z"): (94.45, 79.00, 75.10, 54.40, 77.90),
        },
    ),
    *_rows(
        "cdm",
        "CLIP RN50",
        {
            ("cdm", "CDM with Z"): (86.50, 67.60, 72.26, 52.70, 72.20),
            ("cdm-without-masks", "CDM without Z"): (81.90, 63.40, 64.70, 52.90, 71.20),
        },
    ),
)


def published_dataset(name: str) -> str | None:
    """The key of `DATASETS` that a dataset goes by, or None where nothing is published on it.

    >>> published_dataset("caltech_birds2011"), published_dataset("birds")
    ('cub', None)
    """
    name = _ALIASES.get(name, name)
    return name if name in DATASETS else None
