// The end of a layer with per-layer embeddings in one launch: two `residual_norm`s with the two small products of
// `matmul_bf16` between them.
//   x[m] = x[m] + RMSNorm(branch[m]; post);   g[r] = gelu(sum_k gate_w[r, k] * x[m, k]) * ple[m, ple_at + r]
//   b[r] = sum_k proj_w[r, k] * g[k];   x[m] = (x[m] + RMSNorm(b; ple_post)) * scale;   out[m] = RMSNorm(x[m]; next)
//
// Shape     x, branch, out [rows, width] f32; gate_w [ple_width, width] and proj_w [width, ple_width] bf16, eight values
//           a vec4; ple [rows, ple_stride] f32. width divisible by 32, ple_width by 8 and at most 256; the norms' weights
//           are at their offsets in vec4s of the shared weight buffer.
// Dispatch  (1, rows), 64 invocations. Norms: lane i holds the vec4s i, i + 64, ... Gate: eight lanes a row. Projection:
//           one lane the four rows of each of its vec4s.
// Why       Each step waits for the whole one before it, and is too small to fill an adapter: one workgroup a row saves
//           three launches and keeps the gated embedding out of memory. A wide model has more to gain from the
//           launches than from this, since one workgroup reads all the weights of a row.
// Sum order that of the four launches, step by step, so that the bits are theirs: a product's lane l adds the chunks of
//           eight l, l + 8, ..., then lanes 0..7 in order; a norm's lanes 0..63 in order.

struct Params {
    width4: u32,
    post_at: u32,
    ple_post_at: u32,
    next_at: u32,
    scale: f32,
    epsilon: f32,
    ple_width: u32,
    ple_stride: u32,
    ple_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> branch: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> gate_w: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> proj_w: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> ple: array<f32>;
@group(0) @binding(7) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> out: array<vec4<f32>>;

// Lanes' sums of squares, one norm after the other.
var<workgroup> squares: array<f32, 192>;
// Eight lanes' sums for every row of the gate.
var<workgroup> partial: array<f32, 2048>;
var<workgroup> gated: array<f32, 256>;

fn widen(pair: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(
        pair.x << 16u, pair.x & 0xffff0000u, pair.y << 16u, pair.y & 0xffff0000u));
}

fn dot8(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, sum: f32) -> f32 {
    let low = fma(a.w, c.w, fma(a.z, c.z, fma(a.y, c.y, fma(a.x, c.x, sum))));
    return fma(b.w, d.w, fma(b.z, d.z, fma(b.y, d.y, fma(b.x, d.x, low))));
}

fn gelu(v: f32) -> f32 {
    let u = 0.7978845608028654 * fma(0.044715 * v * v, v, v);
    return v / (1.0 + exp(clamp(-2.0 * u, -80.0, 80.0)));
}

fn square_sum(v: vec4<f32>, sum: f32) -> f32 {
    return fma(v.w, v.w, fma(v.z, v.z, fma(v.y, v.y, fma(v.x, v.x, sum))));
}

// 1 / sqrt(mean + epsilon) of the squares that every lane left at `first`.
fn norm_scale(first: u32) -> f32 {
    var total = 0.0;
    for (var i = first; i < first + 64u; i += 4u) {
        total = (((total + squares[i]) + squares[i + 1u]) + squares[i + 2u]) + squares[i + 3u];
    }
    return inverseSqrt(total / f32(params.width4 * 4u) + params.epsilon);
}

// One row of the projection times a chunk of eight gated values.
fn proj8(row: u32, chunk: u32, low: vec4<f32>, high: vec4<f32>, sum: f32) -> f32 {
    let packed = proj_w[row * (params.ple_width / 8u) + chunk];
    return dot8(widen(packed.xy), widen(packed.zw), low, high, sum);
}

// Rows 4 i to 4 i + 3 of the projection.
fn project(i: u32) -> vec4<f32> {
    var total = vec4<f32>();
    for (var lane = 0u; lane < 8u; lane += 1u) {
        var sum = vec4<f32>();
        for (var chunk = lane; chunk < params.ple_width / 8u; chunk += 8u) {
            let at = chunk * 8u;
            let low = vec4<f32>(gated[at], gated[at + 1u], gated[at + 2u], gated[at + 3u]);
            let high = vec4<f32>(gated[at + 4u], gated[at + 5u], gated[at + 6u], gated[at + 7u]);
            sum.x = proj8(i * 4u, chunk, low, high, sum.x);
            sum.y = proj8(i * 4u + 1u, chunk, low, high, sum.y);
            sum.z = proj8(i * 4u + 2u, chunk, low, high, sum.z);
            sum.w = proj8(i * 4u + 3u, chunk, low, high, sum.w);
        }
        total = select(total + sum, sum, lane == 0u);
    }
    return total;
}

// The lanes' sums of every row of the gate.
fn gate_sums(base: u32, local: u32) {
    let chunks = params.width4 / 2u;
    for (var row = local / 8u; row < params.ple_width; row += 8u) {
        var sum = 0.0;
        for (var chunk = local % 8u; chunk < chunks; chunk += 8u) {
            let packed = gate_w[row * chunks + chunk];
            let at = base + chunk * 2u;
            sum = dot8(widen(packed.xy), widen(packed.zw), x[at], x[at + 1u], sum);
        }
        partial[row * 8u + local % 8u] = sum;
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let base = group.y * params.width4;
    var sum = 0.0;
    for (var i = local; i < params.width4; i += 64u) {
        sum = square_sum(branch[base + i], sum);
    }
    squares[local] = sum;
    workgroupBarrier();
    let post_scale = norm_scale(0u);
    for (var i = local; i < params.width4; i += 64u) {
        let normed = branch[base + i] * post_scale;
        x[base + i] = fma(normed, weights[params.post_at + i], x[base + i]);
    }
    storageBarrier();
    workgroupBarrier();

    gate_sums(base, local);
    workgroupBarrier();
    for (var row = local; row < params.ple_width; row += 64u) {
        var total = partial[row * 8u];
        for (var lane = 1u; lane < 8u; lane += 1u) {
            total += partial[row * 8u + lane];
        }
        gated[row] = gelu(total) * ple[group.y * params.ple_stride + params.ple_at + row];
    }
    workgroupBarrier();

    sum = 0.0;
    for (var i = local; i < params.width4; i += 64u) {
        // Each lane reads back only what it wrote itself.
        let projected = project(i);
        out[base + i] = projected;
        sum = square_sum(projected, sum);
    }
    squares[64u + local] = sum;
    workgroupBarrier();
    let ple_scale = norm_scale(64u);
    sum = 0.0;
    for (var i = local; i < params.width4; i += 64u) {
        let normed = out[base + i] * ple_scale;
        let v = fma(normed, weights[params.ple_post_at + i], x[base + i]) * params.scale;
        x[base + i] = v;
        sum = square_sum(v, sum);
    }
    squares[128u + local] = sum;
    workgroupBarrier();
    let next_scale = norm_scale(128u);
    for (var i = local; i < params.width4; i += 64u) {
        out[base + i] = x[base + i] * next_scale * weights[params.next_at + i];
    }
}
