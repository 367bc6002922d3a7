// Causal attention of one query head over the cached keys, scale 1, running softmax over tiles of 64 keys.
//
// Shape     q, out [rows, heads, dim] f32; k_cache, v_cache [ring, kv_heads, dim] f32. dim <= 512, divisible by 4.
// Dispatch  (heads, rows), 32 invocations. Scores: one lane two keys. Values: one lane 4, 8, 12 or 16 dimensions.
// Why       On a CPU adapter idle lanes cost what busy ones do, and every load of q is paid per key: fewer lanes with
//           two keys each halve both. Tiles start at multiples of 64 positions, so which keys meet in a tile depends on the query's own
//           position alone: not on the batch, the ring or where the window begins. `window` keys are seen,
//           the query's own among them; `first_seen` = 1 hides the query's own position (the drafter has no key there).
// Sum order the built-in kernel's: scores over vec4s then x, y, z, w; values and normaliser key by key.

struct Params {
    heads: u32,
    kv_heads: u32,
    dim4: u32,
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

var<workgroup> scores: array<f32, 64>;
var<workgroup> shares: array<f32, 64>;

struct Pair {
    near: f32,
    far: f32,
}

fn key_at(key: u32, kv_head: u32) -> u32 {
    return ((key % params.ring) * params.kv_heads + kv_head) * params.dim4;
}

// Scores of the keys `key` and `key + 32`; keys outside the window read some cached key and are then dropped.
fn score_pair(key: u32, begin: u32, end: u32, kv_head: u32, q_at: u32) -> Pair {
    let near_at = key_at(key, kv_head);
    let far_at = key_at(key + 32u, kv_head);
    var near = vec4<f32>();
    var far = vec4<f32>();
    for (var i = 0u; i < params.dim4; i += 1u) {
        let query = q[q_at + i];
        near = fma(query, k_cache[near_at + i], near);
        far = fma(query, k_cache[far_at + i], far);
    }
    return Pair(
        select(LOWEST, ((near.x + near.y) + near.z) + near.w, key >= begin && key < end),
        select(LOWEST, ((far.x + far.y) + far.z) + far.w, key + 32u >= begin && key + 32u < end));
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let row = group.y;
    let kv_head = head / (params.heads / params.kv_heads);
    let query = step[0] + row;
    let end = query + 1u - params.first_seen;
    let begin = select(0u, query + 1u - params.window, query + 1u > params.window);
    let q_at = (row * params.heads + head) * params.dim4;

    var highest = LOWEST;
    var total = 0.0;
    var a = vec4<f32>();
    var b = vec4<f32>();
    var c = vec4<f32>();
    var d = vec4<f32>();
    for (var tile = begin & ~63u; tile < end; tile += 64u) {
        let pair = score_pair(tile + lane, begin, end, kv_head, q_at);
        scores[lane] = pair.near;
        scores[lane + 32u] = pair.far;
        workgroupBarrier();
        var tile_highest = highest;
        for (var i = 0u; i < 64u; i += 4u) {
            tile_highest = max(tile_highest, max(max(scores[i], scores[i + 1u]), max(scores[i + 2u], scores[i + 3u])));
        }
        shares[lane] = exp(max(pair.near - tile_highest, -80.0));
        shares[lane + 32u] = exp(max(pair.far - tile_highest, -80.0));
        workgroupBarrier();
        let fade = exp(max(highest - tile_highest, -80.0));
        highest = tile_highest;
        total *= fade;
        a *= fade;
        b *= fade;
        c *= fade;
        d *= fade;
        let last = min(tile + 64u, end);
        for (var at = max(tile, begin); at < last; at += 1u) {
            let share = shares[at - tile];
            let v_at = key_at(at, kv_head) + lane;
            total += share;
            if lane < params.dim4 {
                a = fma(vec4<f32>(share), v_cache[v_at], a);
            }
            if params.dim4 > 32u {
                b = fma(vec4<f32>(share), v_cache[v_at + 32u], b);
            }
            if params.dim4 > 64u {
                c = fma(vec4<f32>(share), v_cache[v_at + 64u], c);
                d = fma(vec4<f32>(share), v_cache[v_at + 96u], d);
            }
        }
    }
    if lane < params.dim4 {
        out[q_at + lane] = a / total;
    }
    if lane + 32u < params.dim4 {
        out[q_at + lane + 32u] = b / total;
    }
    if lane + 64u < params.dim4 {
        out[q_at + lane + 64u] = c / total;
    }
    if lane + 96u < params.dim4 {
        out[q_at + lane + 96u] = d / total;
    }
}
