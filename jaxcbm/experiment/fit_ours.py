"""Our own rows of the table, and the original work's: concept bottlenecks by `jaxcbm.fit`."""

from dataclasses import replace

from jaxcbm.bottleneck.objectives.table import OBJECTIVES, Objective
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Splits
from jaxcbm.evaluation.evaluate import FittedMethod, fitted_model
from jaxcbm.experiment.config import Experiment
from jaxcbm.experiment.original import Setting, original_fit
from jaxcbm.experiment.study import Study
from jaxcbm.training.config import FitConfig, OptimizerConfig, TrainingConfig
from jaxcbm.training.fit import fit


def ours(
    study: Study,
    seed: int,
    *,
    objective: Objective | None = None,
    concepts: ConceptSet | None = None,
    erasure: float | None = None,
) -> FittedMethod:
    """The experiment's own setting, with another concept set or erasure where one is given.

    With an objective, its activations are its logits and its optimizer is its own.
    """
    base = study.experiment.fit
    training, bottleneck = replace(base.training, seed=seed), base.bottleneck
    if objective is not None:
        bottleneck = replace(bottleneck, objective=objective, variant="paired", sampler="identity")
        training = replace(training, cbl=optimizer_of(objective))
    config = replace(base, training=training, bottleneck=bottleneck)
    if erasure is not None:
        config = replace(config, sparse_head=replace(base.sparse_head, erasure=erasure))
    return fit_on(study, config, concepts or study.concepts)


def unannotated(study: Study, seed: int) -> FittedMethod:
    """What the default is on data without annotations, where the study's experiment would use them.

    Validation goes without them too; metrics have those of all splits, as for every other row.
    """
    train, valid = (
        replace(part, annotations=None, annotation_phrases=()) for part in study.splits[:2]
    )
    plain, base = Experiment(), study.experiment
    training = replace(base.training, cbl=plain.training.cbl, epochs=plain.training.epochs)
    experiment = replace(base, bottleneck=plain.bottleneck, training=training)
    splits = Splits(train, valid, study.splits.test)
    fitted = ours(study._replace(experiment=experiment, splits=splits), seed)
    # What its numbers mean is then told by the annotations, as it is of the baselines' numbers.
    return fitted._replace(predict=lambda rows: replace(fitted.predict(rows), calibration=None))


def optimizer_of(objective: Objective) -> OptimizerConfig:
    """What the table of methods trains the layer of an objective with."""
    rate = OBJECTIVES[objective].learning_rate
    return TrainingConfig().cbl if rate is None else OptimizerConfig(learning_rate=rate)


def original(study: Study, seed: int, *, setting: Setting, objective: Objective) -> FittedMethod:
    """The paper's system, or the released code with all of its surprises."""
    config = original_fit(setting, objective, len(study.splits.train))
    training = replace(config.training, seed=seed)
    config = replace(config, training=training, mesh=study.experiment.mesh)
    return fit_on(study, config, study.concepts)


def fit_on(study: Study, config: FitConfig, concepts: ConceptSet) -> FittedMethod:
    """`jaxcbm.fit` on the study's features."""
    train, valid, _ = study.splits
    model = fit(train, valid, encoder=study.encoder, concepts=concepts, config=config)
    return fitted_model(model)
