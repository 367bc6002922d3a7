// Norm and rotation of one query head, then its causal attention over the cached keys: `head_norm_rope` and
// `attention` in one launch, for layers that write no cache of their own.
//
// Shape     qkv [rows, slots, dim] f32, the queries first; k_cache, v_cache [ring, kv_heads, dim] f32; rope
//           [256 + spans, rotated] of (cos, sin), as `head_norm_rope` reads it; out [rows, heads, dim].
//           dim <= 512, divisible by 8.
// Dispatch  (heads, rows), 64 invocations. Norm: lane i holds the pairs (j, j + dim/2), j = i, i + 64, ... Rotation: one
//           lane four pairs. Scores: one lane a key. Values: one lane four (or eight) dimensions.
// Why       One workgroup a head is what both kernels have, so that nothing is computed twice, and the query never
//           leaves the workgroup. Tiles of keys start at multiples of 64 positions, as in `attention`.
// Sum order that of the two kernels, step by step, so that the bits are theirs.

// Values per head; one pipeline per head size, so that loops over a head have constant bounds.
override HEAD_DIM: u32 = 64u;
override DIM4: u32 = HEAD_DIM / 4u;

struct Params {
    heads: u32,
    kv_heads: u32,
    ring: u32,
    window: u32,
    slots: u32,
    rotated: u32,
    weight_at: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> qkv: array<f32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read> rope: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read> k_cache: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> v_cache: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> out: array<vec4<f32>>;

const LOWEST = -3.0e38;

var<workgroup> partial: array<f32, 64>;
var<workgroup> q: array<vec4<f32>, DIM4>;
var<workgroup> scores: array<f32, 64>;
var<workgroup> shares: array<f32, 64>;

// (cos, sin) of the angle of pair `j` at `position`: the sum of the two tables' angles.
fn turn_of(position: u32, j: u32) -> vec2<f32> {
    let fine = rope[(position & 255u) * params.rotated + j];
    let coarse = rope[(256u + (position >> 8u)) * params.rotated + j];
    return vec2<f32>(
        fma(coarse.x, fine.x, -(coarse.y * fine.y)), fma(coarse.y, fine.x, coarse.x * fine.y));
}

// Pair `j` of the head at `base`, normed and rotated.
fn turned(base: u32, j: u32, scale: f32, position: u32) -> vec2<f32> {
    let half = HEAD_DIM / 2u;
    var a = qkv[base + j] * scale;
    var b = qkv[base + j + half] * scale;
    a *= weights[params.weight_at + j];
    b *= weights[params.weight_at + j + half];
    if j < params.rotated {
        let turn = turn_of(position, j);
        return vec2<f32>(fma(a, turn.x, -(b * turn.y)), fma(b, turn.x, a * turn.y));
    }
    return vec2<f32>(a, b);
}

// Puts the query of the head at `base` into the workgroup's memory.
fn prepare(base: u32, lane: u32, position: u32) {
    let half = HEAD_DIM / 2u;
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
    let scale = inverseSqrt(total / f32(HEAD_DIM) + params.epsilon);
    let quads = DIM4 / 2u;
    if lane < quads {
        let first = turned(base, lane * 4u, scale, position);
        let second = turned(base, lane * 4u + 1u, scale, position);
        let third = turned(base, lane * 4u + 2u, scale, position);
        let fourth = turned(base, lane * 4u + 3u, scale, position);
        q[lane] = vec4<f32>(first.x, second.x, third.x, fourth.x);
        q[lane + quads] = vec4<f32>(first.y, second.y, third.y, fourth.y);
    }
    workgroupBarrier();
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let row = group.y;
    let kv_head = head / (params.heads / params.kv_heads);
    let query = step[0] + row;
    let end = query + 1u;
    let begin = select(0u, query + 1u - params.window, query + 1u > params.window);
    prepare((row * params.slots + head) * HEAD_DIM, lane, query);

    var highest = LOWEST;
    var total = 0.0;
    var near = vec4<f32>();
    var far = vec4<f32>();
    for (var tile = begin & ~63u; tile < end; tile += 64u) {
        let key = tile + lane;
        var score = LOWEST;
        if key >= begin && key < end {
            let k_at = ((key % params.ring) * params.kv_heads + kv_head) * DIM4;
            var sum = vec4<f32>();
            for (var i = 0u; i < DIM4; i += 1u) {
                sum = fma(q[i], k_cache[k_at + i], sum);
            }
            score = ((sum.x + sum.y) + sum.z) + sum.w;
        }
        scores[lane] = score;
        workgroupBarrier();
        var tile_highest = highest;
        for (var i = 0u; i < 64u; i += 4u) {
            tile_highest = max(tile_highest, max(max(scores[i], scores[i + 1u]), max(scores[i + 2u], scores[i + 3u])));
        }
        shares[lane] = exp(max(score - tile_highest, -80.0));
        workgroupBarrier();
        let fade = exp(max(highest - tile_highest, -80.0));
        highest = tile_highest;
        total *= fade;
        near *= fade;
        far *= fade;
        let last = min(tile + 64u, end);
        for (var at = max(tile, begin); at < last; at += 1u) {
            let share = shares[at - tile];
            let v_at = ((at % params.ring) * params.kv_heads + kv_head) * DIM4 + lane;
            total += share;
            if lane < DIM4 {
                near = fma(vec4<f32>(share), v_cache[v_at], near);
            }
            if lane + 64u < DIM4 {
                far = fma(vec4<f32>(share), v_cache[v_at + 64u], far);
            }
        }
    }
    let out_at = (row * params.heads + head) * DIM4 + lane;
    if lane < DIM4 {
        out[out_at] = near / total;
    }
    if lane + 64u < DIM4 {
        out[out_at + 64u] = far / total;
    }
}
