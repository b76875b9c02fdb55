"""The fields of a result file, as frozen dataclasses; `result_file` describes the whole."""

from dataclasses import dataclass, field
from typing import Literal

from jaxcbm.code_version import Code
from jaxcbm.machine_load import Load

FORMAT, VERSION = "jaxcbm-results", 1

# Class labels of train images, annotations of their concepts, and text that says which concepts
# belong to which class.
Gift = Literal["labels", "annotations", "class descriptions"]

Values = tuple[float, ...]
PerSeed = tuple[Values, ...]


@dataclass(frozen=True)
class Concepts:
    """Which concept set: its size, `ConceptSet.content_hash`, and its name or file."""

    count: int
    hash: str
    name: str = ""


@dataclass(frozen=True)
class Images:
    """Sizes of the splits."""

    train: int
    valid: int
    test: int


@dataclass(frozen=True)
class NecCurves:
    """Test accuracy at given numbers of effective concepts: one list a seed, one value a target."""

    targets: Values
    accuracies: PerSeed


@dataclass(frozen=True)
class MethodResult:
    """One method.

    Attributes:
        name: as the tables show it; unlike every other row's.
        kind: `ours`, `baseline` (trained), or `training-free`.
        metrics: name to one value a seed, or to a single value where seeds play no part.
        sparse: whether classes use few concepts (an l1 path, masks); tables group by it.
        nec_curve: where the method has a sparse path.
        seconds: of fitting, as in `metrics`; may be empty.
        published_as: key of the same method in `jaxcbm.report.published`; "" for none.
        note: one sentence under the table, such as what was chosen on validation.
        given: what the method was given besides images and phrases; empty for nothing, and in older
            files, which do not say.
    """

    name: str
    kind: Literal["ours", "baseline", "training-free"]
    metrics: dict[str, Values]
    sparse: bool = False
    nec_curve: NecCurves | None = None
    seconds: Values = ()
    published_as: str = ""
    note: str = ""
    given: tuple[Gift, ...] = ()


@dataclass(frozen=True)
class ClassWeights:
    """One class's non-zero weights in F (or the strongest of them): phrase to weight."""

    name: str
    weights: dict[str, float]


@dataclass(frozen=True)
class Weights:
    """The classes' weights of one row's model (one seed)."""

    row: str
    classes: tuple[ClassWeights, ...]


@dataclass(frozen=True)
class ReliabilityDiagram:
    """Groups of images of one row by confidence: mean confidence, accuracy, number of images."""

    row: str
    confidences: Values
    accuracies: Values
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Interventions:
    """Accuracy after setting 0, 1, ... concepts of an image right.

    Attributes:
        row: the model.
        policy: which concepts first, such as `random`, `uncertain`, `greedy` or `oracle`.
        values: who says what is right: `expert` (annotations) or `encoder`.
        counts: numbers of concepts set, rising.
        accuracies: one list a seed, one value for each of `counts`.
    """

    row: str
    policy: str
    values: str
    counts: tuple[int, ...]
    accuracies: PerSeed


@dataclass(frozen=True)
class ContributionValue:
    """What one concept added to the class logit; the label says "no ..." for an absence."""

    label: str
    value: float


@dataclass(frozen=True)
class Explained:
    """One test image, well or badly explained.

    Attributes:
        group: `best` or `worst`.
        picture: a PNG as base64, see `picture_text`.
        true: its class.
        predicted: the class that is explained.
        probability: of `predicted`.
        contributions: largest first.
        rest: the class bias and all other contributions; with them it adds up to the logit.
    """

    group: Literal["best", "worst"]
    picture: str
    true: str
    predicted: str
    probability: float
    contributions: tuple[ContributionValue, ...]
    rest: float


@dataclass(frozen=True)
class Explanations:
    """Explained images of one row's model."""

    row: str
    images: tuple[Explained, ...]


@dataclass(frozen=True)
class ResultFile:
    """Everything measured on one dataset under one protocol.

    Attributes:
        dataset: a name; `jaxcbm.report.published` knows some.
        protocol: `official`, or `released`: the name in files of the pooled protocol, whose test
            images were trained on.
        encoder: name of the frozen encoder.
        encoder_hash: its content hash.
        concepts: the concept set.
        images: sizes of the splits.
        hardware: one line.
        seconds: of fitting all rows and seeds, without encoding and evaluation.
        seeds: the seeds; lists over seeds are in their order.
        rows: the methods, in the order of the tables.
        command: what wrote the file.
        dials: dials of the birds that were not at zero (`jaxcbm.data.birds.dials.Dials`).
        class_weights: for the per-class figures.
        reliability: for the reliability diagrams.
        interventions: for the intervention curves.
        explanations: for the explained images.
        notes: sentences for the head of the section.
        code: what made it; None in older files, which do not say.
        load: of the machine before the first of its fits and while they ran; None likewise.
    """

    dataset: str
    protocol: Literal["official", "released"]
    encoder: str
    encoder_hash: str
    concepts: Concepts
    images: Images
    hardware: str
    seconds: float
    seeds: tuple[int, ...]
    rows: tuple[MethodResult, ...]
    command: str = ""
    dials: dict[str, float] = field(default_factory=dict)
    class_weights: Weights | None = None
    reliability: tuple[ReliabilityDiagram, ...] = ()
    interventions: tuple[Interventions, ...] = ()
    explanations: Explanations | None = None
    notes: tuple[str, ...] = ()
    code: Code | None = None
    load: Load | None = None
    format: Literal["jaxcbm-results"] = field(default=FORMAT, kw_only=True)
    version: Literal[1] = field(default=VERSION, kw_only=True)
