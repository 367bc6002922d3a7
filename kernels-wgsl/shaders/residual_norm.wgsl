// Residual step and the norm after it:
//   x[m] = (x[m] + RMSNorm(branch[m]; post)) * scale;   out[m] = RMSNorm(x[m]; next)
//
// Shape     x, branch, out [rows, width] f32; `post_at`, `next_at` index the shared weight buffer in vec4s.
// Dispatch  (1, rows), 64 invocations; lane i holds the vec4s i, i + 64, ...
// Why       The residual is read and written once for two norms. `next_at` = NONE leaves `out` alone, where
//           the next kernel reads the un-normed residual.
// Sum order lane partials in element order, then lanes 0..63 in order, for both norms.

const NONE = 0xffffffffu;

struct Params {
    width4: u32,
    post_at: u32,
    next_at: u32,
    scale: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> branch: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> partial: array<f32, 64>;
var<workgroup> partial_next: array<f32, 64>;

fn square_sum(v: vec4<f32>, sum: f32) -> f32 {
    return fma(v.w, v.w, fma(v.z, v.z, fma(v.y, v.y, fma(v.x, v.x, sum))));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let base = group.y * params.width4;
    let width = f32(params.width4 * 4u);
    var sum = 0.0;
    for (var i = lane; i < params.width4; i += 64u) {
        sum = square_sum(branch[base + i], sum);
    }
    partial[lane] = sum;
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < 64u; i += 4u) {
        total = (((total + partial[i]) + partial[i + 1u]) + partial[i + 2u]) + partial[i + 3u];
    }
    let post_scale = inverseSqrt(total / width + params.epsilon);
    sum = 0.0;
    for (var i = lane; i < params.width4; i += 64u) {
        let normed = branch[base + i] * post_scale;
        let v = fma(normed, weights[params.post_at + i], x[base + i]) * params.scale;
        x[base + i] = v;
        sum = square_sum(v, sum);
    }
    if params.next_at == NONE {
        return;
    }
    partial_next[lane] = sum;
    workgroupBarrier();
    total = 0.0;
    for (var i = 0u; i < 64u; i += 4u) {
        total = (((total + partial_next[i]) + partial_next[i + 1u]) + partial_next[i + 2u]) + partial_next[i + 3u];
    }
    let next_scale = inverseSqrt(total / width + params.epsilon);
    for (var i = lane; i < params.width4; i += 64u) {
        out[base + i] = x[base + i] * next_scale * weights[params.next_at + i];
    }
}
