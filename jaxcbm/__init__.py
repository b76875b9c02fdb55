"""Image classifiers that explain every decision by concepts, in JAX.

Public names are imported when first used, so `import jaxcbm` costs nothing. `train`, `evaluate`,
`reproduce`, `search`, `sweep`, `plan` and `pretrain` do what the commands of these names do;
`prepare` does what they start with.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxcbm.baselines.concept_search import concept_search
    from jaxcbm.concepts.concept_set import ConceptSet
    from jaxcbm.data.features import Features
    from jaxcbm.data.image_set import ImageSet
    from jaxcbm.data.readable import readable
    from jaxcbm.data.store.feature_store import encode
    from jaxcbm.encoders.dual_encoder import DualEncoder
    from jaxcbm.encoders.load import load_encoder
    from jaxcbm.errors import UserError
    from jaxcbm.experiment.config import Experiment
    from jaxcbm.experiment.evaluate import run as evaluate
    from jaxcbm.experiment.prepare import prepare
    from jaxcbm.experiment.pretrain import run as pretrain
    from jaxcbm.experiment.reproduce import run as reproduce
    from jaxcbm.experiment.search import run as search
    from jaxcbm.experiment.sweep import run as sweep
    from jaxcbm.experiment.train import run as train
    from jaxcbm.model.model import Model, load_model
    from jaxcbm.planning.experiment_job import run as plan
    from jaxcbm.training.config import FitConfig
    from jaxcbm.training.edit import edit
    from jaxcbm.training.fit import fit

__version__ = "0.1.0"

# Name -> module, with what it is called there where that is another name.
_HOMES = {
    "ConceptSet": "jaxcbm.concepts.concept_set",
    "DualEncoder": "jaxcbm.encoders.dual_encoder",
    "Experiment": "jaxcbm.experiment.config",
    "Features": "jaxcbm.data.features",
    "FitConfig": "jaxcbm.training.config",
    "ImageSet": "jaxcbm.data.image_set",
    "Model": "jaxcbm.model.model",
    "UserError": "jaxcbm.errors",
    "concept_search": "jaxcbm.baselines.concept_search",
    "edit": "jaxcbm.training.edit",
    "encode": "jaxcbm.data.store.feature_store",
    "evaluate": "jaxcbm.experiment.evaluate:run",
    "fit": "jaxcbm.training.fit",
    "load_encoder": "jaxcbm.encoders.load",
    "load_model": "jaxcbm.model.model",
    "plan": "jaxcbm.planning.experiment_job:run",
    "prepare": "jaxcbm.experiment.prepare",
    "pretrain": "jaxcbm.experiment.pretrain:run",
    "readable": "jaxcbm.data.readable",
    "reproduce": "jaxcbm.experiment.reproduce:run",
    "search": "jaxcbm.experiment.search:run",
    "sweep": "jaxcbm.experiment.sweep:run",
    "train": "jaxcbm.experiment.train:run",
}

__all__ = [
    "ConceptSet",
    "DualEncoder",
    "Experiment",
    "Features",
    "FitConfig",
    "ImageSet",
    "Model",
    "UserError",
    "concept_search",
    "edit",
    "encode",
    "evaluate",
    "fit",
    "load_encoder",
    "load_model",
    "plan",
    "prepare",
    "pretrain",
    "readable",
    "reproduce",
    "search",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, _, inner = _HOMES[name].partition(":")
        return getattr(import_module(module), inner or name)
    raise AttributeError(f"module 'jaxcbm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
