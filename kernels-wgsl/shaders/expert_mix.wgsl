// The two feed-forward branches of a layer with experts, each normed, then added:
//   out[m] = RMSNorm(dense[m]; dense weight) + RMSNorm(sum_s shares[m, s] * experts[m, s]; expert weight)
//
// Shape     dense, out [rows, width] f32; experts [rows, per_token, width] f32; shares [rows, per_token] f32;
//           `dense_at`, `experts_at` index the shared weight buffer in vec4s.
// Dispatch  (1, rows), 64 invocations; lane i holds the vec4s i, i + 64, ...
// Why       The experts' sum is needed twice, for its norm and in it: a lane keeps its part in `out` in between.
// Sum order experts slot by slot; norms: lane partials in element order, then lanes 0..63 in order.

struct Params {
    width4: u32,
    per_token: u32,
    dense_at: u32,
    experts_at: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> dense: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> experts: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> shares: array<f32>;
@group(0) @binding(5) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> partial: array<vec2<f32>, 64>;

fn square_sum(v: vec4<f32>, sum: f32) -> f32 {
    return fma(v.w, v.w, fma(v.z, v.z, fma(v.y, v.y, fma(v.x, v.x, sum))));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y;
    let base = row * params.width4;
    var sums = vec2<f32>();
    for (var i = lane; i < params.width4; i += 64u) {
        var mixed = vec4<f32>();
        for (var s = 0u; s < params.per_token; s += 1u) {
            let slot = row * params.per_token + s;
            mixed = fma(vec4<f32>(shares[slot]), experts[slot * params.width4 + i], mixed);
        }
        out[base + i] = mixed;
        sums = vec2<f32>(square_sum(dense[base + i], sums.x), square_sum(mixed, sums.y));
    }
    partial[lane] = sums;
    workgroupBarrier();
    var total = vec2<f32>();
    for (var i = 0u; i < 64u; i += 1u) {
        total += partial[i];
    }
    let scale = inverseSqrt(total / f32(params.width4 * 4u) + vec2<f32>(params.epsilon));
    for (var i = lane; i < params.width4; i += 64u) {
        let normed = out[base + i] * scale.y * weights[params.experts_at + i];
        out[base + i] = fma(dense[base + i] * scale.x, weights[params.dense_at + i], normed);
    }
}
