"""The settings of a whole experiment: data, encoder and concepts around a fit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, overload

from ml_collections import ConfigDict

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.data.datasets import DataConfig
from jaxcbm.encoders.finetune.lora import LoraConfig
from jaxcbm.encoders.finetune.trainable import Mode
from jaxcbm.errors import UserError
from jaxcbm.experiment.config_file import read_config
from jaxcbm.training.config import FitConfig, MeshConfig, SparseHeadConfig, TrainingConfig
from jaxcbm.training.finetune.config import FinetuneConfig
from jaxcbm.typed_json import Range, Whole, from_json


@dataclass(frozen=True)
class EncoderConfig:
    """Which dual encoder, and what trains of it.

    `--config.encoder.train=lora` adapts the matrices that `encoder.lora.where` matches,
    `--config.encoder.train=full` trains the image tower, and `--config.encoder.train=rules` does
    what `encoder.rules` says; the section `finetune` says how.

    Attributes:
        name: `jaxcbm/tiny`, a folder in the Hugging Face layout, or a hub name.
        dtype: of the inputs of matrix products; sums, and what trains, stay float32.
        image_size: height and width of the pictures that enter; position embeddings are
            interpolated to it. 0 for the checkpoint's own.
        train: `frozen`, `lora`, `full` or `rules`.
        rules: `PATTERN=train`, `=freeze` or `=lora` on parameter paths, separated by semicolons;
            the first that matches a path wins, and what none matches is frozen.
        lora: rank, strength and place of the adapters.
    """

    name: str = "jaxcbm/tiny"
    dtype: Literal["float32", "bfloat16"] = "float32"
    image_size: Annotated[int, Range(0, 8192)] = 0
    train: Mode = "frozen"
    rules: str = ""
    lora: LoraConfig = field(default_factory=LoraConfig)


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured of a finished model.

    Attributes:
        controls: whether `jaxcbm train` measures the controls too, which take fits of their own
            (the same setting on random phrases; on the birds, with phrases of nuisances as well).
            `jaxcbm evaluate` does, unless told --no-controls.
        random_phrases: what the random phrases are made of: `nonsense`, pronounceable words that
            are no English, or common `words` that name nothing one can see.
    """

    controls: bool = False
    random_phrases: Literal["nonsense", "words"] = "nonsense"


@dataclass(frozen=True)
class Experiment:
    """A whole experiment; the sections of every file in configs/.

    Attributes:
        data: which images, and how they are split.
        encoder: which dual encoder, and what trains of it.
        concepts: a built-in concept set's name, a file of phrases, or `annotations`: the phrases
            that the data's images are annotated with.
        concept_count: so many of the phrases, drawn by `data.seed`: a smaller draw lies within a
            larger one; 0 for all.
        features: folder of the feature store, here or gs://; "" for the cache that all runs share
            (`jaxcbm cache`), or in a run of several processes for the work directory.
        bottleneck: the model.
        training: the loop.
        sparse_head: the elastic-net head.
        mesh: devices.
        finetune: how the encoder trains, where it does.
        evaluation: what is measured of the model.
    """

    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    concepts: str = "birds"
    concept_count: Whole = 0
    features: str = ""
    bottleneck: BottleneckConfig = field(default_factory=BottleneckConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sparse_head: SparseHeadConfig = field(default_factory=SparseHeadConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    @property
    def fit(self) -> FitConfig:
        """The part that `jaxcbm.fit` takes."""
        return FitConfig(self.bottleneck, self.training, self.sparse_head, self.mesh)


def default_config() -> ConfigDict:
    """Every setting with its default, for config files to change."""
    return ConfigDict(asdict(Experiment()))


Named = str | Path | Mapping[str, Any] | ConfigDict
Changes = Mapping[str, Any]
T = TypeVar("T")


@overload
def read_experiment(config: Experiment | Named, changes: Changes | None = None) -> Experiment: ...
@overload
def read_experiment(config: T | Named, changes: Changes | None, kind: type[T]) -> T: ...
def read_experiment(config: Any, changes: Changes | None = None, kind: type = Experiment) -> Any:
    """Settings as typed dataclasses, from whatever names them.

    Args:
        config: the name or path of a config file, nested dicts, a ConfigDict, or settings that are
            typed already. Fields that are not there have their defaults.
        changes: path of a field -> its new value, such as `{"training.epochs": 3}`.
        kind: what settings they are.

    Raises:
        UserError: no such config, an unknown field, or a value of another type.

    >>> read_experiment({"concepts": "cub"}, {"training.epochs": 3}).training.epochs
    3
    """
    if isinstance(config, kind) and not changes:
        return config
    if isinstance(config, str | Path):
        config = read_config(str(config))
    elif isinstance(config, kind):
        config = asdict(config)
    elif isinstance(config, ConfigDict):
        config = config.to_dict()
    if not isinstance(config, Mapping):
        raise UserError(f"a {type(config).__name__} is no config: give a name, a path or a dict")
    for path, value in (changes or {}).items():
        config = _with_field(config, path, value)
    return from_json(kind, config, "config")


def _with_field(values: Mapping[str, Any], path: str, value: Any) -> Mapping[str, Any]:
    name, _, rest = path.partition(".")
    if not rest:
        return {**values, name: value}
    section = values.get(name, {})
    if not isinstance(section, Mapping):
        raise UserError(f"config.{name} has no fields: {path} names none")
    return {**values, name: _with_field(section, rest, value)}
