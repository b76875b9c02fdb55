"""Products with operands in the compute type, and sums and results in float32, both ways.

That is what a chip's matrix units do, and what keeps bfloat16 embeddings within a cosine of 1e-5 of
the float32 ones.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp


@partial(jax.tree_util.register_dataclass, data_fields=("kernel", "a", "b"), meta_fields=())
@dataclass(frozen=True)
class AdaptedKernel:
    """The matrix `kernel + a @ b`; stands wherever `matmul` takes a kernel.

    A gradient reaches the two small factors without one of the kernel's size in between, which
    would cost as much as the product itself, and which chips would have to add up.

    Attributes:
        kernel: [I, O].
        a: [I, R].
        b: [R, O].
    """

    kernel: jax.Array
    a: jax.Array
    b: jax.Array

    def __getitem__(self, index: Any) -> "AdaptedKernel":
        """Some of the columns: `adapted[:, :n]`; `adapted[...]` are all."""
        return AdaptedKernel(self.kernel[index], self.a, self.b[index])


def dot_precision(dtype: Any) -> jax.lax.Precision:
    """How exactly operands of that type are multiplied: float32 ones are never rounded."""
    # Left to itself, a GPU or TPU rounds the operands of float32 products too.
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else jax.lax.Precision.DEFAULT


def product(spec: str, x: jax.Array, y: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
    """An einsum of two arrays with operands in `dtype` and sums and result in float32.

    In the spec, such as "mk,kn->mn", every index stands in two of the three terms.

    Derivatives of narrow products go backwards alone: `jax.grad`, `jax.vjp` and `jax.jacrev`.

    Raises:
        TypeError: from JAX, at forward-mode differentiation (`jax.jvp`, `jax.jacfwd`,
            `jax.hessian`) of a product in another type than float32.

    >>> product("bm,bm->b", jnp.ones((2, 3)), jnp.ones((2, 3)), jnp.bfloat16).tolist()
    [3.0, 3.0]
    """
    x, y = x.astype(dtype), y.astype(dtype)
    return _contract(spec, x, y) if x.dtype == jnp.float32 else _narrow(spec, x, y)


def matmul(
    x_MxK: jax.Array, w_KxN: jax.Array | AdaptedKernel, dtype: Any = jnp.float32
) -> jax.Array:
    """Matrix product, as `product` makes it.

    >>> matmul(jnp.ones((2, 3)), jnp.ones((3, 4)), jnp.bfloat16).dtype.name
    'float32'
    """
    if isinstance(w_KxN, AdaptedKernel):
        # Through the R columns both ways: no gradient of the kernel's size is made.
        low_MxR = product("mk,kr->mr", x_MxK, w_KxN.a, dtype)
        change_MxN = product("mr,rn->mn", low_MxR, w_KxN.b, dtype)
        return product("mk,kn->mn", x_MxK, w_KxN.kernel, dtype) + change_MxN
    return product("mk,kn->mn", x_MxK, w_KxN, dtype)


def _contract(spec: str, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.einsum(
        spec, x, y, precision=dot_precision(x.dtype), preferred_element_type=jnp.float32
    )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _narrow(spec: str, x: jax.Array, y: jax.Array) -> jax.Array:
    return _contract(spec, x, y)


def _narrow_forward(spec: str, x: jax.Array, y: jax.Array):
    return _contract(spec, x, y), (x, y)


def _narrow_backward(spec: str, saved: tuple[jax.Array, jax.Array], g: jax.Array):
    # A float32 cotangent would turn both backward products into float32 ones and miss the matrix
    # units, so it is narrowed to the operands' type, as the forward operands were.
    terms, result = spec.split("->")
    first, second = terms.split(",")
    x, y = saved
    g = g.astype(x.dtype)
    to_x = _contract(f"{result},{second}->{first}", g, y)
    to_y = _contract(f"{first},{result}->{second}", x, g)
    return to_x.astype(x.dtype), to_y.astype(y.dtype)


_narrow.defvjp(_narrow_forward, _narrow_backward)
