"""The sweep's rival: one plain torch loop after another on the same cached scores."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from benchmarks.cbm_torch import gumbel_like
from benchmarks.interleave import Work
from benchmarks.machine import start_torch
from benchmarks.sweep_problem import PENALTY, Arrays, Run, SweepProblem

Noise = tuple[torch.Tensor, torch.Tensor] | None
Objective = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Noise], torch.Tensor]


def _gumbel(psi, z, weight, noise: Noise) -> torch.Tensor:
    rows, columns = noise or (gumbel_like(z), gumbel_like(z))
    over_rows = torch.log(torch.softmax(z + rows, dim=1))
    over_columns = torch.log(torch.softmax(z + columns, dim=0))
    return -0.5 * (over_rows.mean() + over_columns.mean())


def _contrastive(psi, z, weight, noise: Noise) -> torch.Tensor:
    over_rows = torch.log(torch.softmax(z, dim=1)).diagonal()
    over_columns = torch.log(torch.softmax(z, dim=0)).diagonal()
    return -0.5 * (over_rows.mean() + over_columns.mean())


def _l1(psi, z, weight, noise: Noise) -> torch.Tensor:
    return PENALTY / weight.shape[0] * weight.abs().sum()


def _similarity(psi, z, weight, noise: Noise) -> torch.Tensor:
    psi, z = psi - psi.mean(dim=0), z - z.mean(dim=0)
    return -functional.cosine_similarity(psi, z, dim=0).mean()


OBJECTIVES: dict[str, Objective] = {
    "gumbel": _gumbel,
    "contrastive": _contrastive,
    "l1": _l1,
    "similarity": _similarity,
}


class Loop:
    """One run: two layers, an Adam each, and the released step's logic with its head trained."""

    def __init__(self, run: Run, cbl_DxD: np.ndarray, head_DxK: np.ndarray):
        self.objective = OBJECTIVES[run.objective]
        self.cbl, self.head = (
            torch.nn.Parameter(torch.as_tensor(kernel.T.copy())) for kernel in (cbl_DxD, head_DxK)
        )
        self.bias = torch.nn.Parameter(torch.zeros(head_DxK.shape[1]))
        self.optimizers = (
            torch.optim.Adam([self.cbl], lr=run.cbl_rate),
            torch.optim.Adam([self.head, self.bias], lr=run.head_rate),
        )

    def logits(self, z: torch.Tensor) -> torch.Tensor:
        """Class logits from concept logits."""
        return functional.linear(z, self.head, self.bias)

    def step(self, psi: torch.Tensor, labels: torch.Tensor, noise: Noise = None) -> torch.Tensor:
        """One update of both layers; returns cross-entropy, objective and top-1."""
        z = functional.linear(psi, self.cbl)
        logits = self.logits(z)
        objective = self.objective(psi, z, self.cbl, noise)
        ce = functional.cross_entropy(logits, labels)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        objective.backward(retain_graph=True)
        ce.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        top1 = (logits.argmax(dim=1) == labels).float().mean()
        return torch.stack([ce.detach(), objective.detach(), top1])

    @torch.no_grad()
    def validate(self, psi: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        """Loss and accuracy of a split."""
        logits = self.logits(functional.linear(psi, self.cbl))
        top1 = (logits.argmax(dim=1) == labels).float().mean()
        return functional.cross_entropy(logits, labels).item(), top1.item()


def one_after_another(problem: SweepProblem, arrays: Arrays) -> Work:
    """Every run of the grid; keeps the best epoch of each by validation loss."""
    start_torch()
    scores, labels, valid_scores, valid_labels = _tensors(arrays)

    def work() -> None:
        for run in problem.runs():
            torch.manual_seed(run.seed)
            loop = Loop(run, arrays.cbl_DxD, arrays.head_DxK)
            best = (float("inf"), 0.0)
            for _ in range(problem.epochs):
                totals = [0.0, 0.0, 0.0]
                order = torch.randperm(problem.images)
                for i in range(problem.images // problem.batch):
                    rows = order[i * problem.batch : (i + 1) * problem.batch]
                    measured = loop.step(scores[rows], labels[rows]).tolist()
                    totals = [total + value for total, value in zip(totals, measured, strict=True)]
                best = min(best, loop.validate(valid_scores, valid_labels))

    return work


def replay(arrays: Arrays, run: Run, batch: int, noises: list[Noise]) -> np.ndarray:
    """Cross-entropy and objective of one step a batch, in order, with the noise given."""
    scores, labels, *_ = _tensors(arrays)
    loop, losses = Loop(run, arrays.cbl_DxD, arrays.head_DxK), []
    for i, noise in enumerate(noises):
        rows = slice(i * batch, (i + 1) * batch)
        given = noise and tuple(torch.as_tensor(np.array(part)) for part in noise)
        losses.append(loop.step(scores[rows], labels[rows], given)[:2].cpu().numpy())
    return np.array(losses)


def _tensors(arrays: Arrays) -> tuple[torch.Tensor, ...]:
    parts = arrays.scores_NxD, arrays.labels_N, arrays.valid_scores_MxD, arrays.valid_labels_M
    tensors = (torch.as_tensor(part) for part in parts)
    return tuple(part if part.is_floating_point() else part.long() for part in tensors)
