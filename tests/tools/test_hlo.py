"""tools.hlo and tools.moved: collectives and bytes from a compiled program's text."""

import jax
import jax.numpy as jnp
import pytest

from tools import hlo, moved

# As XLA:TPU writes it: a loop of 12 in which an asynchronous gather stands in two fusions, a fused
# reduce-scatter, an update in place, and arrays in vector memory.
TPU = """
HloModule jit_update, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%async_collective_fusion.1 (p: bf16[1,64,256]) -> bf16[1,256,256] {
  %p = bf16[1,64,256]{2,1,0} parameter(0)
  ROOT %all-gather.1 = bf16[1,256,256]{2,1,0:T(8,128)(2,1)} all-gather(%p), channel_id=7, replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0'}, dimensions={1}
}

%fused_computation.2 (p.2: bf16[1,64,256]) -> bf16[1,256,256] {
  %p.2 = bf16[1,64,256]{2,1,0} parameter(0)
  ROOT %all-gather.2 = bf16[1,256,256]{2,1,0:T(8,128)(2,1)} all-gather(%p.2), channel_id=7, replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0'}, dimensions={1}
}

%all-reduce-scatter.3 (input: f32[256,256]) -> f32[64,256] {
  %input = f32[256,256]{1,0} parameter(0)
  %all-reduce.9 = f32[256,256]{1,0} all-reduce(%input), channel_id=9, replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  ROOT %slice.1 = f32[64,256]{1,0} slice(%all-reduce.9), slice={[0:64], [0:256]}
}

%updated (stack: f32[12,8,128], row: f32[1,8,128], i: s32[]) -> f32[12,8,128] {
  %stack = f32[12,8,128]{2,1,0} parameter(0)
  %row = f32[1,8,128]{2,1,0} parameter(1)
  %i = s32[] parameter(2)
  %zero = s32[] constant(0)
  ROOT %dus = f32[12,8,128]{2,1,0} dynamic-update-slice(%stack, %row, %i, %zero, %zero)
}

%sliced (whole: f32[12,8,128], j: s32[]) -> f32[1,8,128] {
  %whole = f32[12,8,128]{2,1,0} parameter(0)
  %j = s32[] parameter(1)
  %none = s32[] constant(0)
  ROOT %ds = f32[1,8,128]{2,1,0} dynamic-slice(%whole, %j, %none, %none), dynamic_slice_sizes={1,8,128}
}

%outer (all: f32[12,8,128], k: s32[]) -> f32[1,8,128] {
  %all = f32[12,8,128]{2,1,0} parameter(0)
  %k = s32[] parameter(1)
  %same = f32[12,8,128]{2,1,0} bitcast(%all)
  %one = f32[1,8,128]{2,1,0} fusion(%same, %k), kind=kLoop, calls=%sliced
  ROOT %twice = f32[1,8,128]{2,1,0} add(%one, %one)
}

%body (state: (s32[], f32[12,8,128], f32[1,8,128])) -> (s32[], f32[12,8,128], f32[1,8,128]) {
  %state = (s32[], f32[12,8,128]{2,1,0}, f32[1,8,128]{2,1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%state), index=0
  %stack.1 = f32[12,8,128]{2,1,0} get-tuple-element(%state), index=1
  %row.1 = f32[1,8,128]{2,1,0:S(1)} get-tuple-element(%state), index=2
  %shard = bf16[1,64,256]{2,1,0:S(1)} custom-call(), custom_call_target="AllocateBuffer"
  %gathering = bf16[1,256,256]{2,1,0:S(1)} fusion(%shard), kind=kCustom, calls=%async_collective_fusion.1
  %gathered = bf16[1,256,256]{2,1,0:S(1)} fusion(%shard), kind=kCustom, calls=%fused_computation.2
  %layer = f32[1,8,128]{2,1,0:S(1)} fusion(%stack.1, %i.1), kind=kOutput, calls=%outer
  %new = f32[12,8,128]{2,1,0} fusion(%stack.1, %row.1, %i.1), kind=kLoop, calls=%updated
  ROOT %next = (s32[], f32[12,8,128]{2,1,0}, f32[1,8,128]{2,1,0}) tuple(%i.1, %new, %row.1)
}

%condition (state.2: (s32[], f32[12,8,128], f32[1,8,128])) -> pred[] {
  %state.2 = (s32[], f32[12,8,128]{2,1,0}, f32[1,8,128]{2,1,0}) parameter(0)
  %limit = s32[]{:T(128)} constant(12)
  %i.2 = s32[] get-tuple-element(%state.2), index=0
  ROOT %less = pred[] compare(%i.2, %limit), direction=LT
}

ENTRY %main (a: s32[], b: f32[12,8,128], c: f32[1,8,128], g: f32[256,256]) -> f32[64,256] {
  %a = s32[] parameter(0)
  %b = f32[12,8,128]{2,1,0} parameter(1)
  %c = f32[1,8,128]{2,1,0} parameter(2)
  %g = f32[256,256]{1,0} parameter(3)
  %start = (s32[], f32[12,8,128]{2,1,0}, f32[1,8,128]{2,1,0}) tuple(%a, %b, %c)
  %loop = (s32[], f32[12,8,128]{2,1,0}, f32[1,8,128]{2,1,0}) while(%start), condition=%condition, body=%body
  %kernel = f32[256,256]{1,0} custom-call(%g), custom_call_target="tpu_custom_call"
  ROOT %scattered = f32[64,256]{1,0} fusion(%kernel), kind=kCustom, calls=%all-reduce-scatter.3
}
"""  # noqa: E501


@pytest.fixture(scope="module")
def found():
    return moved.read(TPU)


def test_collectives_are_counted_as_often_as_their_loop_runs(found):
    gather, scatter = found.collectives
    assert gather == moved.Collective("all-gather", 4, 12, 12 * 256 * 256 * 2)
    assert scatter == moved.Collective("reduce-scatter", 4, 1, 256 * 256 * 4)
    assert found.open_loops == 0


def test_what_lies_in_vector_memory_or_stays_in_place_moves_nothing(found):
    row, square = 8 * 128 * 4, 256 * 256 * 4
    # In the loop a row is read out of a stack and one is written, each with its index.
    assert found.kernel_bytes == 2 * square
    looped = found.bytes - found.kernel_bytes - (square + square // 4)
    assert looped == 12 * ((row + 4) + (row + row + 4))
    assert found.custom_calls == {"AllocateBuffer": 12, "tpu_custom_call": 1}


def test_bytes_on_the_wire():
    assert moved.Collective("all-gather", 4, 1, 100.0).wire == 75
    assert moved.Collective("all-reduce", 4, 1, 100.0).wire == 150
    assert moved.Collective("all-reduce", 1, 1, 100.0).wire == 0
    assert moved.Collective("collective-permute", 4, 1, 100.0).wire == 100


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ("replica_groups={{0,1,2},{3,4,5}}, x", 3),
        ("replica_groups=[16,8]<=[128], x", 8),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", 2),
        ("replica_groups=mesh['axis_0'=4,'axis_1'=8] {'axis_0','axis_1'}", 32),
        ("replica_groups=mesh['axis_0'=16] {'axis_0':(2)4}", 4),
        ("replica_groups=mesh['a'=2,'b'=1,'c'=2], device_ids=([2,2]T(1,0)) {'a'}, x={1}", 2),
        ("source_target_pairs={{0,1},{1,2},{2,0}}", 3),
        ("dimensions={0}", 1),
    ],
)
def test_groups_in_every_spelling(attributes, size):
    assert hlo.group_size(attributes) == size


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ("bf16[16,196]{1,0:T(8,128)(2,1)}", 16 * 196 * 2),
        ("(f32[2], s32[], pred[8])", 8 + 4 + 8),
        ("s4[10]", 5),
        ("f8e4m3fn[10]", 10),
        ("c64[2]", 16),
        ("token[]", 0),
    ],
)
def test_bytes_of_a_shape(shape, size):
    assert hlo.array_bytes(shape) == size


def test_a_real_program_of_this_backend():
    """A product of 64 KiB matrices, 7 times: it cannot move less than it reads and writes."""

    def f(x):
        return jax.lax.scan(lambda c, _: (jnp.tanh(c @ c), None), x, length=7)[0]

    text = jax.jit(f).lower(jax.ShapeDtypeStruct((128, 128), jnp.float32)).compile().as_text()
    found = moved.read(text)
    assert found.open_loops == 0
    assert found.collectives == ()
    assert 7 * 2 * 65536 <= found.bytes <= 7 * 12 * 65536


def test_a_text_that_is_no_module_moves_nothing():
    assert moved.read("") == moved.Moved(0.0, 0.0, (), {}, 0)
