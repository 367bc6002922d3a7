// Per-layer embeddings: ple[m, l] = (RMSNorm(context[m, l] * context_scale; weight) + token_row[l] * token_scale) / sqrt 2.
//
// Shape     table [vocab or rows, layers * width] bf16 or f32, layer-major; context and ple [rows, layers * width] f32.
// Dispatch  (layers, rows), 32 invocations; lane i holds elements i, i + 32, ...
// Why       One workgroup owns one normalised slice, so a row never depends on its neighbours. `by_token`
//           tells what the table is: 0 the rows of this step as bf16, 1 the whole vocabulary as bf16, 2 the rows of
//           this step as f32.
// Sum order lane partials in element order, then lanes 0..31 in order.

struct Params {
    layers: u32,
    width: u32,
    by_token: u32,
    weight_at: u32,
    context_scale: f32,
    token_scale: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read> table: array<u32>;
@group(0) @binding(4) var<storage, read> context: array<f32>;
@group(0) @binding(5) var<storage, read> weights: array<f32>;
@group(0) @binding(6) var<storage, read_write> ple: array<f32>;

var<workgroup> partial: array<f32, 32>;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y;
    let base = (row * params.layers + group.x) * params.width;
    var sum = 0.0;
    for (var i = lane; i < params.width; i += 32u) {
        let c = context[base + i] * params.context_scale;
        sum = fma(c, c, sum);
    }
    partial[lane] = sum;
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < 32u; i += 1u) {
        total += partial[i];
    }
    let scale = inverseSqrt(total / f32(params.width) + params.epsilon);
    let table_row = select(row, tokens[row], params.by_token == 1u);
    let table_base = (table_row * params.layers + group.x) * params.width;
    for (var i = lane; i < params.width; i += 32u) {
        let c = context[base + i] * params.context_scale * scale * weights[params.weight_at + i];
        var bits = 0u;
        if params.by_token == 2u {
            bits = table[table_base + i];
        } else {
            let pair = table[(table_base + i) / 2u];
            bits = select(pair << 16u, pair & 0xffff0000u, ((table_base + i) & 1u) == 1u);
        }
        ple[base + i] = fma(bitcast<f32>(bits), params.token_scale, c) * 0.70710678118654752;
    }
}
