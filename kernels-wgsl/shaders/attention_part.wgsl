// Causal attention of one query head over one range of 512 positions, to be merged with the other ranges.
//
// Shape     q [rows, heads, dim] f32; k_cache, v_cache [ring, kv_heads, dim] f32; partials [rows, heads, ranges, dim + 4]
//           f32: the weighted sum of values, the highest score, the sum of weights, two words unused.
//           dim <= 512, divisible by 4.
// Dispatch  (heads * ranges, rows), 64 invocations. Scores: one lane a key. Values: one lane four (or eight) dimensions.
// Why       A long context has few heads but many ranges, so that ranges fill the adapter where heads do not. Ranges
//           start at multiples of 512 positions, whatever the batch, the ring or the context; the first range of a
//           row is the one its window begins in, and ranges past its last key are left alone.
// Sum order within a range as `attention`: scores over vec4s then x, y, z, w; values and normaliser key by key.

// Values per head; one pipeline per head size, so that loops over a head have constant bounds.
override HEAD_DIM: u32 = 64u;
override DIM4: u32 = HEAD_DIM / 4u;

struct Params {
    heads: u32,
    kv_heads: u32,
    ring: u32,
    window: u32,
    first_seen: u32,
    ranges: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> k_cache: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> v_cache: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> partials: array<vec4<f32>>;

const LOWEST = -3.0e38;

var<workgroup> scores: array<f32, 64>;
var<workgroup> shares: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x / params.ranges;
    let row = group.y;
    let kv_head = head / (params.heads / params.kv_heads);
    let query = step[0] + row;
    let whole_end = query + 1u - params.first_seen;
    let whole_begin = select(0u, query + 1u - params.window, query + 1u > params.window);
    let range = (whole_begin / 512u + group.x % params.ranges) * 512u;
    if range >= whole_end {
        return;
    }
    let begin = max(whole_begin, range);
    let end = min(whole_end, range + 512u);
    let q_at = (row * params.heads + head) * DIM4;

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
                sum = fma(q[q_at + i], k_cache[k_at + i], sum);
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
    let out_at = (row * params.heads * params.ranges + group.x) * (DIM4 + 1u);
    if lane < DIM4 {
        partials[out_at + lane] = near;
    }
    if lane + 64u < DIM4 {
        partials[out_at + lane + 64u] = far;
    }
    if lane == 0u {
        partials[out_at + DIM4] = vec4<f32>(highest, total, 0.0, 0.0);
    }
}
