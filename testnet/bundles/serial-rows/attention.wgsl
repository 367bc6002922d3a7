// Causal attention of one query head over the cached keys, scale 1, running softmax over tiles of 64 keys.
//
// Shape     q, out [rows, heads, dim] f32; k_cache, v_cache [ring, kv_heads, dim] f32. dim <= 512, divisible by 4.
// Dispatch  (heads, rows), 16 invocations. Scores: one lane four keys. Values: one lane 4 to 32 dimensions.
// Why       A CPU adapter pays for every load of every lane, busy or idle: few lanes, four keys to a load of q, four
//           shares to a load. Tiles start at multiples of 64 positions, so which keys meet in a tile depends on the
//           query's own position alone.
// Sum order the built-in kernel's: scores over vec4s then x, y, z, w; values and normaliser key by key.

// Values per head; one pipeline per head size.
override HEAD_DIM: u32 = 64u;
override DIM4: u32 = HEAD_DIM / 4u;

struct Params {
    heads: u32,
    kv_heads: u32,
    ring: u32,
    window: u32,
    first_seen: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> k_cache: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> v_cache: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;

const LOWEST = -3.0e38;

var<workgroup> scores: array<vec4<f32>, 16>;
var<workgroup> shares: array<vec4<f32>, 16>;

// Sums of one lane: dimensions 4 lane, 4 (lane + 16), ..., as many as the head has.
struct Sums {
    total: f32,
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
    e: vec4<f32>,
    f: vec4<f32>,
    g: vec4<f32>,
    h: vec4<f32>,
}

fn key_at(key: u32, kv_head: u32) -> u32 {
    return ((key % params.ring) * params.kv_heads + kv_head) * DIM4;
}

fn across(v: vec4<f32>) -> f32 {
    return ((v.x + v.y) + v.z) + v.w;
}

// Scores of the keys key .. key + 3; keys outside the window read some cached key and are then dropped.
fn score_four(key: u32, begin: u32, end: u32, kv_head: u32, q_at: u32) -> vec4<f32> {
    let a_at = key_at(key, kv_head);
    let b_at = key_at(key + 1u, kv_head);
    let c_at = key_at(key + 2u, kv_head);
    let d_at = key_at(key + 3u, kv_head);
    var a = vec4<f32>();
    var b = vec4<f32>();
    var c = vec4<f32>();
    var d = vec4<f32>();
    for (var i = 0u; i < DIM4; i += 1u) {
        let query = q[q_at + i];
        a = fma(query, k_cache[a_at + i], a);
        b = fma(query, k_cache[b_at + i], b);
        c = fma(query, k_cache[c_at + i], c);
        d = fma(query, k_cache[d_at + i], d);
    }
    let keys = vec4<u32>(key) + vec4<u32>(0u, 1u, 2u, 3u);
    let seen = (keys >= vec4<u32>(begin)) & (keys < vec4<u32>(end));
    return select(vec4<f32>(LOWEST), vec4<f32>(across(a), across(b), across(c), across(d)), seen);
}

fn add_key(sums: ptr<function, Sums>, share: f32, v_at: u32, lane: u32) {
    let s = vec4<f32>(share);
    (*sums).total += share;
    if lane < DIM4 {
        (*sums).a = fma(s, v_cache[v_at], (*sums).a);
    }
    if DIM4 > 16u && lane + 16u < DIM4 {
        (*sums).b = fma(s, v_cache[v_at + 16u], (*sums).b);
    }
    if DIM4 > 32u {
        (*sums).c = fma(s, v_cache[v_at + 32u], (*sums).c);
        (*sums).d = fma(s, v_cache[v_at + 48u], (*sums).d);
    }
    if DIM4 > 64u {
        (*sums).e = fma(s, v_cache[v_at + 64u], (*sums).e);
        (*sums).f = fma(s, v_cache[v_at + 80u], (*sums).f);
        (*sums).g = fma(s, v_cache[v_at + 96u], (*sums).g);
        (*sums).h = fma(s, v_cache[v_at + 112u], (*sums).h);
    }
}

fn fade(sums: ptr<function, Sums>, factor: f32) {
    (*sums).total *= factor;
    (*sums).a *= factor;
    (*sums).b *= factor;
    (*sums).c *= factor;
    (*sums).d *= factor;
    (*sums).e *= factor;
    (*sums).f *= factor;
    (*sums).g *= factor;
    (*sums).h *= factor;
}

fn store(index: u32, at: u32, sum: vec4<f32>, total: f32) {
    if index < DIM4 {
        out[at + index] = sum / total;
    }
}

@compute @workgroup_size(16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let row = group.y;
    let kv_head = head / (params.heads / params.kv_heads);
    let query = step[0] + row;
    let end = query + 1u - params.first_seen;
    let begin = select(0u, query + 1u - params.window, query + 1u > params.window);
    let q_at = (row * params.heads + head) * DIM4;

    var highest = LOWEST;
    var sums = Sums();
    for (var tile = begin & ~63u; tile < end; tile += 64u) {
        let score = score_four(tile + lane * 4u, begin, end, kv_head, q_at);
        scores[lane] = score;
        workgroupBarrier();
        var peak = vec4<f32>(highest);
        for (var i = 0u; i < 16u; i += 1u) {
            peak = max(peak, scores[i]);
        }
        let tile_highest = max(max(peak.x, peak.y), max(peak.z, peak.w));
        shares[lane] = exp(max(score - tile_highest, vec4<f32>(-80.0)));
        workgroupBarrier();
        fade(&sums, exp(max(highest - tile_highest, -80.0)));
        highest = tile_highest;
        let last = min(tile + 64u, end);
        for (var four = max(tile, begin) & ~3u; four < last; four += 4u) {
            let share = shares[(four - tile) / 4u];
            if four >= begin {
                add_key(&sums, share.x, key_at(four, kv_head) + lane, lane);
            }
            if four + 1u >= begin && four + 1u < last {
                add_key(&sums, share.y, key_at(four + 1u, kv_head) + lane, lane);
            }
            if four + 2u >= begin && four + 2u < last {
                add_key(&sums, share.z, key_at(four + 2u, kv_head) + lane, lane);
            }
            if four + 3u >= begin && four + 3u < last {
                add_key(&sums, share.w, key_at(four + 3u, kv_head) + lane, lane);
            }
        }
    }
    store(lane, q_at, sums.a, sums.total);
    store(lane + 16u, q_at, sums.b, sums.total);
    store(lane + 32u, q_at, sums.c, sums.total);
    store(lane + 48u, q_at, sums.d, sums.total);
    store(lane + 64u, q_at, sums.e, sums.total);
    store(lane + 80u, q_at, sums.f, sums.total);
    store(lane + 96u, q_at, sums.g, sums.total);
    store(lane + 112u, q_at, sums.h, sums.total);
}
