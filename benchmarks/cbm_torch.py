"""Training from cached features in torch: the plain loop, and a tuned and compiled one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from benchmarks.cbm_problem import CBL_RATE, HEAD_RATE, Arrays, Problem, scores
from benchmarks.interleave import Work
from benchmarks.machine import start_torch

Noise = tuple[torch.Tensor, torch.Tensor]
# Mean cross-entropy, objective, share of hits.
Measured = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Step = Callable[[torch.Tensor, torch.Tensor, Noise | None], Measured]


def gumbel_like(z: torch.Tensor) -> torch.Tensor:
    """Standard Gumbel noise, drawn as torch's own gumbel_softmax draws it."""
    return -torch.empty_like(z).exponential_().log()


@dataclass(frozen=True)
class Data:
    """What every torch loop reads."""

    scores: torch.Tensor
    labels: torch.Tensor


def as_data(arrays: Arrays) -> Data:
    """Cached scores and labels as tensors."""
    labels = torch.as_tensor(arrays.labels_N.astype(np.int64))
    return Data(torch.as_tensor(scores(arrays)), labels)


def _layer(kernel: np.ndarray) -> torch.nn.Linear:
    layer = torch.nn.Linear(*kernel.shape, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(kernel.T))
    return layer


def plain_step(arrays: Arrays) -> Step:
    """The released step's logic on given scores, with its head trained.

    Softmax, then logarithm; a backward pass for each loss, the first of which keeps the graph; an
    Adam for each layer.
    """
    cbl, head = _layer(arrays.cbl_DxD), _layer(arrays.head_DxK)
    cbl_optimizer = torch.optim.Adam(cbl.parameters(), lr=CBL_RATE)
    head_optimizer = torch.optim.Adam(head.parameters(), lr=HEAD_RATE)

    def step(x: torch.Tensor, labels: torch.Tensor, noise: Noise | None = None) -> Measured:
        z = cbl(x)
        logits = head(z)
        rows, columns = noise or (gumbel_like(z), gumbel_like(z))
        over_rows = torch.log(torch.softmax(z + rows, dim=1))
        over_columns = torch.log(torch.softmax(z + columns, dim=0))
        objective = -0.5 * (over_rows.mean() + over_columns.mean())
        ce = functional.cross_entropy(logits, labels)
        cbl_optimizer.zero_grad()
        head_optimizer.zero_grad()
        objective.backward(retain_graph=True)
        ce.backward()
        cbl_optimizer.step()
        head_optimizer.step()
        top1 = (logits.argmax(dim=1) == labels).float().mean()
        return ce.detach(), objective.detach(), top1

    return step


def tuned_step(arrays: Arrays, *, compiled: bool = True) -> Step:
    """One backward pass of a compiled loss, log-softmax, and one fused Adam."""
    cbl, head = _layer(arrays.cbl_DxD), _layer(arrays.head_DxK)
    optimizer = torch.optim.Adam(
        [
            {"params": [cbl.weight], "lr": CBL_RATE},
            {"params": [head.weight], "lr": HEAD_RATE},
        ],
        fused=True,
    )

    def losses(x, labels, rows, columns):
        z = cbl(x)
        logits = head(z)
        if rows is None:
            rows, columns = gumbel_like(z), gumbel_like(z)
        over_rows = torch.log_softmax(z + rows, dim=1)
        over_columns = torch.log_softmax(z + columns, dim=0)
        objective = -0.5 * (over_rows.mean() + over_columns.mean())
        ce = functional.cross_entropy(logits, labels)
        top1 = (logits.argmax(dim=1) == labels).float().mean()
        return objective + ce, ce, objective, top1

    forward = torch.compile(losses) if compiled else losses

    def step(x: torch.Tensor, labels: torch.Tensor, noise: Noise | None = None) -> Measured:
        total, ce, objective, top1 = forward(x, labels, *(noise or (None, None)))
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        return ce.detach(), objective.detach(), top1

    return step


def plain_loop(problem: Problem, arrays: Arrays) -> Work:
    """Index a batch out of the cached scores, step, and add up the metrics in Python."""
    start_torch()
    data, step = as_data(arrays), plain_step(arrays)

    def work() -> None:
        totals = [0.0, 0.0, 0.0]
        order = torch.randperm(problem.images)
        for i in range(problem.steps):
            rows = order[i * problem.batch : (i + 1) * problem.batch]
            measured = step(data.scores[rows], data.labels[rows], None)
            totals = [total + value.item() for total, value in zip(totals, measured, strict=True)]

    return work


def tuned_loop(problem: Problem, arrays: Arrays) -> Work:
    """The same with index_select and metrics added up as tensors."""
    start_torch()
    data, step = as_data(arrays), tuned_step(arrays)

    def work() -> None:
        totals = [torch.zeros(()) for _ in range(3)]
        order = torch.randperm(problem.images)
        for i in range(problem.steps):
            rows = order[i * problem.batch : (i + 1) * problem.batch]
            x = torch.index_select(data.scores, 0, rows)
            measured = step(x, torch.index_select(data.labels, 0, rows), None)
            totals = [total + value for total, value in zip(totals, measured, strict=True)]
        # On a GPU the steps are only queued until somebody reads what came out.
        torch.stack(totals).tolist()

    return work


def replay(
    problem: Problem, arrays: Arrays, step: Step, noises: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Cross-entropy and objective of one step a batch, in order, with the noise given."""
    data, losses = as_data(arrays), []
    for i, noise in enumerate(noises):
        rows = slice(i * problem.batch, (i + 1) * problem.batch)
        given = torch.as_tensor(noise[0]), torch.as_tensor(noise[1])
        ce, objective, _ = step(data.scores[rows], data.labels[rows], given)
        losses.append((ce.item(), objective.item()))
    return np.array(losses)
