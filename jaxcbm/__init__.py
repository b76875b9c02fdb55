"""Image classifiers that explain every decision by concepts, in JAX.

Public names are imported when first used, so `import jaxcbm` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxcbm.baselines.concept_search import concept_search
    from jaxcbm.concepts.concept_set import ConceptSet
    from jaxcbm.data.features import Features
    from jaxcbm.data.image_set import ImageSet
    from jaxcbm.data.store.feature_store import encode
    from jaxcbm.encoders.dual_encoder import DualEncoder
    from jaxcbm.encoders.load import load_encoder
    from jaxcbm.errors import UserError
    from jaxcbm.model.model import Model, load_model
    from jaxcbm.training.config import FitConfig
    from jaxcbm.training.fit import fit

__version__ = "0.1.0"

_HOMES = {
    "ConceptSet": "jaxcbm.concepts.concept_set",
    "DualEncoder": "jaxcbm.encoders.dual_encoder",
    "Features": "jaxcbm.data.features",
    "FitConfig": "jaxcbm.training.config",
    "ImageSet": "jaxcbm.data.image_set",
    "Model": "jaxcbm.model.model",
    "UserError": "jaxcbm.errors",
    "concept_search": "jaxcbm.baselines.concept_search",
    "encode": "jaxcbm.data.store.feature_store",
    "fit": "jaxcbm.training.fit",
    "load_encoder": "jaxcbm.encoders.load",
    "load_model": "jaxcbm.model.model",
}

__all__ = [
    "ConceptSet",
    "DualEncoder",
    "Features",
    "FitConfig",
    "ImageSet",
    "Model",
    "UserError",
    "concept_search",
    "encode",
    "fit",
    "load_encoder",
    "load_model",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'jaxcbm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
