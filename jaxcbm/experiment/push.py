"""`jaxcbm push`: a finished model on the Hugging Face hub, with a card of its numbers."""

from pathlib import Path

from jaxcbm.experiment.run_metrics import read_run_metrics
from jaxcbm.model.model import load_model


def push(
    workdir: Path | str,
    name: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    with_encoder: bool = False,
    licence: str = "",
) -> str:
    """Push a model; its card has the test numbers of the run where there are any.

    Args:
        workdir: of a finished run, or a saved model.
        name: "owner/name".
        private, revision, with_encoder, licence: as for `Model.push_to_hub`.

    Returns:
        The commit.

    Raises:
        UserError: no model there, or as `Model.push_to_hub`.
    """
    workdir = Path(workdir)
    model = load_model(workdir)
    evaluated = (workdir / "metrics.json").exists()
    return model.push_to_hub(
        name,
        private=private,
        revision=revision,
        with_encoder=with_encoder,
        metrics=read_run_metrics(workdir) if evaluated else None,
        licence=licence,
    )
