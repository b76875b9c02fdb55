"""Counts of compiled programs, against programs whose work is known by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.planning.collectives import Collective, group_size
from jaxcbm.planning.hlo import parse, runs
from jaxcbm.planning.work import count_work

# What libtpu 0.0.42 writes: tiles and memory spaces in layouts, a loop without a stated length.
TPU_TEXT = """
HloModule jit_epoch, is_scheduled=true, num_partitions=16

%add.1 (x: f32[], y: f32[]) -> f32[] {
  %x = f32[]{:T(128)} parameter(0)
  %y = f32[]{:T(128)} parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%x, %y)
}

%fused_computation.1 (param_0: f32[80073,768], param_1: s32[256,1]) -> f32[256,768] {
  %param_0 = f32[80073,768]{1,0:T(8,128)} parameter(0)
  %param_1 = s32[256,1]{0,1:T(1,128)S(1)} parameter(1)
  ROOT %gather.1 = f32[256,768]{1,0:T(8,128)S(1)} gather(%param_0, %param_1), offset_dims={1}
}

%body.2 (arg: (s32[], f32[768,64], f32[80073,768])) -> (s32[], f32[768,64], f32[80073,768]) {
  %arg = (s32[]{:T(128)}, f32[768,64]{0,1:T(8,128)}, /*index=2*/f32[80073,768]{1,0:T(8,128)}) \
parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%arg), index=0
  %w = f32[768,64]{0,1:T(8,128)} get-tuple-element(%arg), index=1
  %features = f32[80073,768]{1,0:T(8,128)} get-tuple-element(%arg), index=2
  %rows = s32[256,1]{0,1:T(1,128)S(1)} iota(), iota_dimension=0
  %gather_fusion = f32[256,768]{1,0:T(8,128)S(1)} fusion(%features, %rows), kind=kCustom, \
calls=%fused_computation.1
  %convolution.1 = f32[256,64]{0,1:T(8,128)S(1)} convolution(%gather_fusion, %w), \
dim_labels=bf_io->bf, operand_precision={highest,highest}
  %convolution.2 = f32[768,64]{0,1:T(8,128)} convolution(%gather_fusion, %convolution.1), \
dim_labels=fb_io->bf
  %all-reduce.1 = f32[768,64]{0,1:T(8,128)} all-reduce(%convolution.2), channel_id=1, \
replica_groups=mesh['axis_0'=16,'axis_1'=1] {'axis_0'}, use_global_device_ids=true, \
to_apply=%add.1
  ROOT %tuple.1 = (s32[]{:T(128)}, f32[768,64]{0,1:T(8,128)}, f32[80073,768]{1,0:T(8,128)}) \
tuple(%i, %all-reduce.1, %features)
}

%condition.2 (arg.1: (s32[], f32[768,64], f32[80073,768])) -> pred[] {
  %steps = s32[]{:T(128)} constant(312)
  %arg.1 = (s32[]{:T(128)}, f32[768,64]{0,1:T(8,128)}, f32[80073,768]{1,0:T(8,128)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%arg.1), index=0
  ROOT %less = pred[]{:T(512)} compare(%i.1, %steps), direction=LT
}

ENTRY %main.3 (p: (s32[], f32[768,64], f32[80073,768])) -> f32[768,64] {
  %p = (s32[]{:T(128)}, f32[768,64]{0,1:T(8,128)}, f32[80073,768]{1,0:T(8,128)}) parameter(0)
  %while.1 = (s32[]{:T(128)}, f32[768,64]{0,1:T(8,128)}, f32[80073,768]{1,0:T(8,128)}) \
while(%p), condition=%condition.2, body=%body.2
  ROOT %done = f32[768,64]{0,1:T(8,128)} get-tuple-element(%while.1), index=1
}
"""


def compiled_text(function, *shapes):
    return jax.jit(function).lower(*shapes).compile().as_text()


def shape(mesh, size, *spec):
    return jax.ShapeDtypeStruct(size, jnp.float32, sharding=NamedSharding(mesh, P(*spec)))


def test_a_tpu_program_counts_by_hand():
    work = count_work(TPU_TEXT, chips=16, steps=312)
    product = 2 * 256 * 768 * 64
    weights = 768 * 64 * 4
    assert work.flops == 2 * product
    # The first product is of full precision, six passes; the second is rounded, one.
    assert work.passes == 7 * product
    assert work.collectives == (Collective("all-reduce", 16, 1, weights),)
    assert work.sent == 2 * weights * 15 / 16
    # The gather reads its rows alone; W is read, its gradient written, then read and written.
    assert work.bytes == pytest.approx(256 * 768 * 4 + weights * (1 + 1 + 2), rel=1e-5)
    assert work.unknown_loops == 0


def test_a_loop_of_unknown_length_is_said_to_be():
    counts, unknown = runs(parse(TPU_TEXT.replace("constant(312)", "parameter(1)")))
    assert unknown == 1 and counts["body.2"] == 1


def test_steps_that_are_in_no_loop_are_refused():
    with pytest.raises(ValueError, match="no loop of 7 steps"):
        count_work(TPU_TEXT, chips=16, steps=7)


def test_loops_count_as_often_as_they_run():
    def inner(x, w):
        return jax.lax.scan(lambda x, _: (x @ w, None), x, None, length=5)[0]

    def outer(x, w):
        return jax.lax.scan(lambda x, _: (inner(x, w), None), x, None, length=3)[0]

    text = compiled_text(outer, jnp.zeros((64, 32)), jnp.zeros((32, 32)))
    assert count_work(text, chips=1).flops == 15 * 2 * 64 * 32 * 32
    assert count_work(text, chips=1, steps=3).flops == 5 * 2 * 64 * 32 * 32


@pytest.mark.parametrize(
    ("stride", "pad", "groups"), [(1, "SAME", 1), (2, "VALID", 1), (2, "SAME", 4)]
)
def test_convolutions_agree_with_the_compilers_count(stride, pad, groups):
    def convolve(x, k):
        return jax.lax.conv_general_dilated(
            x,
            k,
            (stride, stride),
            pad,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    shapes = jnp.zeros((2, 17, 13, 8)), jnp.zeros((3, 5, 8 // groups, 16))
    compiled = jax.jit(convolve).lower(*shapes).compile()
    counted = count_work(compiled.as_text(), chips=1).flops
    assert counted == pytest.approx(compiled.cost_analysis()["flops"], rel=0.02)


def test_gradients_of_convolutions_agree_with_the_compilers_count():
    def convolve(x, k):
        names = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, k, (2, 2), "SAME", dimension_numbers=names, feature_group_count=4
        ).sum()

    shapes = jnp.zeros((6, 17, 13, 8)), jnp.zeros((3, 5, 2, 16))
    gradient = jax.jit(jax.grad(lambda x, k: convolve(x, k) ** 2, argnums=(0, 1)))
    compiled = gradient.lower(*shapes).compile()
    counted = count_work(compiled.as_text(), chips=1).flops
    assert counted == pytest.approx(compiled.cost_analysis()["flops"], rel=0.02)


def test_products_agree_with_the_compilers_count():
    def towers(x, w):
        heads = jnp.einsum("bqhf,bkhf->bhqk", x @ w, x)
        return jax.nn.softmax(heads).sum()

    x = jnp.zeros((4, 16, 8, 32))
    compiled = jax.jit(jax.grad(towers, argnums=1)).lower(x, jnp.zeros((32, 32))).compile()
    counted = count_work(compiled.as_text(), chips=1).flops
    by_hand = 2 * 4 * 16 * 8 * 32 * 32 * 2 + 2 * 4 * 8 * 16 * 16 * 32 * 2
    assert counted == by_hand
    assert counted <= compiled.cost_analysis()["flops"] <= 1.2 * counted


def test_collectives_of_a_real_program():
    mesh = make_mesh(4, 2)

    def exchange(x, w):
        summed = jax.lax.psum(x.T @ x, "data")
        gathered = jax.lax.all_gather(w, "model", axis=1, tiled=True)
        scattered = jax.lax.psum_scatter(x @ w, "data", tiled=True)
        turned = jax.lax.ppermute(x, "data", [(i, (i + 1) % 4) for i in range(4)])
        return summed.sum() + gathered.sum() + scattered.sum() + turned.sum()

    mapped = jax.shard_map(
        exchange,
        mesh=mesh,
        in_specs=(P("data"), P(None, "model")),
        out_specs=P(),
        check_vma=False,
    )
    text = compiled_text(mapped, shape(mesh, (64, 16), "data"), shape(mesh, (16, 8), None, "model"))
    found = {c.kind: c for c in count_work(text, chips=8).collectives}
    assert found["all-reduce"] == Collective("all-reduce", 4, 1, 16 * 16 * 4)
    assert found["all-gather"] == Collective("all-gather", 2, 1, 16 * 8 * 4)
    assert found["reduce-scatter"] == Collective("reduce-scatter", 4, 1, 16 * 4 * 4)
    assert found["collective-permute"].bytes == 16 * 16 * 4


def test_what_a_ring_sends():
    assert Collective("all-reduce", 4, 1, 100.0).sent == 150.0
    assert Collective("all-gather", 4, 1, 100.0).sent == 75.0
    assert Collective("collective-permute", 2, 1, 100.0).sent == 100.0
    assert Collective("all-reduce", 1, 1, 100.0).sent == 0.0


def test_groups_in_every_form():
    assert group_size("replica_groups={}, to_apply=%add", 8) == 8
    assert group_size("replica_groups={{0,2,4,6},{1,3,5,7}}", 8) == 4
    assert group_size("replica_groups=[4,2]<=[2,4]T(1,0)", 8) == 2
    assert group_size("replica_groups=mesh['a'=4,'b'=2] {'a','b'}", 8) == 8


def test_fast_memory_is_not_memory_traffic():
    text = """ENTRY %m (x: f32[8,128]) -> f32[8,128] {
  %x = f32[8,128]{1,0} parameter(0)
  ROOT %y = f32[8,128]{1,0:T(8,128)} negate(%x)
}"""
    near = text.replace("T(8,128)}", "T(8,128)S(1)}")
    size = int(np.prod((8, 128))) * 4
    assert count_work(text, chips=1).bytes == 2 * size
    assert count_work(near, chips=1).bytes == size
