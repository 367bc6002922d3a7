// RMSNorm: out[m] = x[m] / sqrt(mean(x[m]^2) + epsilon) * weight.
//
// Shape     x, out [rows, width] f32; weight at `weight_at` in the shared weight buffer.
// Dispatch  (1, rows), 64 invocations; lane i holds the vec4s i, i + 64, ...
// Why       One workgroup a row keeps every row's arithmetic its own, whatever the batch.
// Sum order lane partials in element order, then lanes 0..63 in order.

struct Params {
    width4: u32,
    weight_at: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> partial: array<f32, 64>;

fn square_sum(v: vec4<f32>, sum: f32) -> f32 {
    return fma(v.w, v.w, fma(v.z, v.z, fma(v.y, v.y, fma(v.x, v.x, sum))));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let base = group.y * params.width4;
    var sum = 0.0;
    for (var i = lane; i < params.width4; i += 64u) {
        sum = square_sum(x[base + i], sum);
    }
    partial[lane] = sum;
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < 64u; i += 4u) {
        total = (((total + partial[i]) + partial[i + 1u]) + partial[i + 2u]) + partial[i + 3u];
    }
    let scale = inverseSqrt(total / f32(params.width4 * 4u) + params.epsilon);
    for (var i = lane; i < params.width4; i += 64u) {
        out[base + i] = x[base + i] * scale * weights[params.weight_at + i];
    }
}
