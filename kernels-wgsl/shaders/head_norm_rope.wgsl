// Per-head norm, rotary position and cache write after the q/k/v projection.
//
// Shape     qkv [rows, slots, dim] f32: q, then k and v (neither in layers that share a cache; k alone, which is
//           also v, where the values are the keys); q [rows, heads, dim]; k_cache, v_cache [ring, kv_heads, dim];
//           rope [256 + spans, rotated] of (cos, sin): angles of positions 0 to 255, then of every 256th position.
// Dispatch  (heads, or heads + 2 * kv_heads; rows), 64 invocations; lane i holds the pairs (j, j + dim/2),
//           j = i, i + 64, ...
// Why       q and k: RMSNorm over the head, then rotation of the first `rotated` pairs; v: RMSNorm without a weight
//           (none at all where `value_norm` is 0) and no rotation. Position p lives in ring slot p mod ring. Its
//           angle is put together from two short tables, since one row a position would outgrow a binding.
// Sum order lane partials pair by pair, then lanes 0..63 in order.

struct Params {
    heads: u32,
    kv_heads: u32,
    dim: u32,
    slots: u32,
    rotated: u32,
    ring: u32,
    q_weight_at: u32,
    k_weight_at: u32,
    epsilon: f32,
    value_norm: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> qkv: array<f32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read> rope: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> q: array<f32>;
@group(0) @binding(6) var<storage, read_write> k_cache: array<f32>;
@group(0) @binding(7) var<storage, read_write> v_cache: array<f32>;

var<workgroup> partial: array<f32, 64>;

// (cos, sin) of the angle of pair `j` at `position`: the sum of the two tables' angles.
fn turn_of(position: u32, j: u32) -> vec2<f32> {
    let fine = rope[(position & 255u) * params.rotated + j];
    let coarse = rope[(256u + (position >> 8u)) * params.rotated + j];
    return vec2<f32>(
        fma(coarse.x, fine.x, -(coarse.y * fine.y)), fma(coarse.y, fine.x, coarse.x * fine.y));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let slot = group.x;
    let row = group.y;
    let half = params.dim / 2u;
    let stored = select(slot, slot - params.kv_heads, slot >= params.slots);
    let base = (row * params.slots + stored) * params.dim;
    var sum = 0.0;
    for (var j = lane; j < half; j += 64u) {
        let a = qkv[base + j];
        let b = qkv[base + j + half];
        sum = fma(b, b, fma(a, a, sum));
    }
    partial[lane] = sum;
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < 64u; i += 4u) {
        total = (((total + partial[i]) + partial[i + 1u]) + partial[i + 2u]) + partial[i + 3u];
    }
    var scale = inverseSqrt(total / f32(params.dim) + params.epsilon);

    let position = step[0] + row;
    let cell = (position % params.ring) * params.kv_heads;
    let is_q = slot < params.heads;
    let is_v = slot >= params.heads + params.kv_heads;
    if is_v && params.value_norm == 0u {
        scale = 1.0;
    }
    let weight_at = select(params.k_weight_at, params.q_weight_at, is_q);
    for (var j = lane; j < half; j += 64u) {
        var a = qkv[base + j] * scale;
        var b = qkv[base + j + half] * scale;
        if is_v {
            let at = (cell + slot - params.heads - params.kv_heads) * params.dim + j;
            v_cache[at] = a;
            v_cache[at + half] = b;
            continue;
        }
        a *= weights[weight_at + j];
        b *= weights[weight_at + j + half];
        var turned = vec2<f32>(a, b);
        if j < params.rotated {
            let turn = turn_of(position, j);
            turned = vec2<f32>(fma(a, turn.x, -(b * turn.y)), fma(b, turn.x, a * turn.y));
        }
        if is_q {
            let at = (row * params.heads + slot) * params.dim + j;
            q[at] = turned.x;
            q[at + half] = turned.y;
        } else {
            let at = (cell + slot - params.heads) * params.dim + j;
            k_cache[at] = turned.x;
            k_cache[at + half] = turned.y;
        }
    }
}
