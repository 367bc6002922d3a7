// Logits of the tokens in the chosen clusters: logits[c, j] = table[ordering[chosen[c], j]] . y
//
// Shape     ordering [clusters, members] u32; table [vocab, width] bf16, eight values a vec4; y [width] f32;
//           logits [searched, members] f32. width divisible by 8.
// Dispatch  (searched, 1), 64 invocations; lane j takes the members j, j + 64, ...
// Why       Only the chosen rows of the head are read. Rows of a cluster lie anywhere in the table, so a lane reads a
//           whole row; y is small and stays in cache. The table may be split by vocabulary rows: each part answers
//           for the tokens it holds.
// Sum order element order.

struct Params {
    members: u32,
    chunks: u32,
    first_token: u32,
    tokens_held: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> chosen: array<u32>;
@group(0) @binding(3) var<storage, read> ordering: array<u32>;
@group(0) @binding(4) var<storage, read> table: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> logits: array<f32>;

fn widen(pair: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(
        pair.x << 16u, pair.x & 0xffff0000u, pair.y << 16u, pair.y & 0xffff0000u));
}

fn dot4(a: vec4<f32>, b: vec4<f32>, sum: f32) -> f32 {
    return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let cluster = chosen[group.x] * params.members;
    for (var member = lane; member < params.members; member += 64u) {
        let token = ordering[cluster + member];
        if token < params.first_token || token - params.first_token >= params.tokens_held {
            continue;
        }
        let base = (token - params.first_token) * params.chunks;
        var sum = 0.0;
        for (var chunk = 0u; chunk < params.chunks; chunk += 1u) {
            let packed = table[base + chunk];
            sum = dot4(widen(packed.xy), y[chunk * 2u], sum);
            sum = dot4(widen(packed.zw), y[chunk * 2u + 1u], sum);
        }
        logits[group.x * params.members + member] = sum;
    }
}
