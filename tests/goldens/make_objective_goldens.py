"""Make objective_goldens.npz: the released objectives and their gradients, computed by torch.

Needs torch, which the tests do not:  python tests/goldens/make_objective_goldens.py

The formulas follow the description of the released code in the docstrings of
`jaxcbm.bottleneck.objectives`; torch supplies log_softmax, gumbel_softmax, norms and derivatives.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

SHAPES = {"wide": (6, 9), "tall": (9, 6), "square": (7, 7)}
TAUS = (1.0, 0.5)


def contrastive(z):
    per_axis = [-torch.diag(F.log_softmax(z, dim=axis)).mean() for axis in (0, 1)]
    return sum(per_axis) / 2


def gumbel(z, tau):
    per_axis = [-torch.log(F.gumbel_softmax(z, tau=tau, dim=axis)).mean() for axis in (0, 1)]
    return sum(per_axis) / 2


def gumbel_noise(z):
    """What gumbel_softmax draws, in the order of `gumbel`: axis 0 first."""
    draw = torch.empty_like(z, memory_format=torch.legacy_contiguous_format)
    over_columns = -draw.exponential_().log()
    over_rows = -torch.empty_like(draw).exponential_().log()
    return over_rows, over_columns


def l1(w, penalty):
    return penalty * torch.norm(w, p=1) / w.shape[0]


def similarity(psi, z, cubed):
    columns = [x - x.mean(dim=0, keepdim=True) for x in (psi, z)]
    if cubed:
        columns = [x**3 for x in columns]
    first, second = (x / x.norm(dim=0, keepdim=True) for x in columns)
    return -(first * second).sum(dim=0).mean()


def main():
    torch.manual_seed(0)
    arrays = {}

    def record(name, function, x):
        x = x.clone().requires_grad_(True)
        value = function(x)
        value.backward()
        arrays[name] = np.float32(value.item())
        arrays[f"{name}/gradient"] = x.grad.numpy()

    for shape_name, shape in SHAPES.items():
        z = 3 * torch.randn(shape)
        psi = 20 + 3 * torch.randn(shape)
        arrays[f"{shape_name}/z"], arrays[f"{shape_name}/psi"] = z.numpy(), psi.numpy()
        record(f"{shape_name}/contrastive", contrastive, z)
        for seed, tau in enumerate(TAUS):
            torch.manual_seed(seed)
            over_rows, over_columns = gumbel_noise(z)
            arrays[f"{shape_name}/over_rows/{tau}"] = over_rows.numpy()
            arrays[f"{shape_name}/over_columns/{tau}"] = over_columns.numpy()

            def seeded(z, seed=seed, tau=tau):
                torch.manual_seed(seed)
                return gumbel(z, tau)

            record(f"{shape_name}/gumbel/{tau}", seeded, z)
        for cubed in (False, True):
            fixed = partial(similarity, psi, cubed=cubed)
            record(f"{shape_name}/similarity/{cubed}", fixed, z)
    w = torch.randn(8, 8) * (torch.rand(8, 8) < 0.6)
    arrays["l1/W"] = w.numpy()
    record("l1", lambda w: l1(w, 1e-3), w)
    np.savez_compressed(Path(__file__).with_name("objective_goldens.npz"), **arrays)


if __name__ == "__main__":
    main()
