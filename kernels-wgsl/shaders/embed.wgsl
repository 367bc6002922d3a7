// Token embedding: x[m, i] = table[tokens[m], i] * scale.
//
// Shape     table [vocab, width] bf16, two values a word; x [rows, width] f32.
// Dispatch  (ceil(width / 128), rows), 64 invocations, one word each.
// Why       A large table is split by vocabulary rows to fit the adapter's binding limit, so this runs
//           once per part and each part answers only for the tokens it holds.

struct Params {
    width: u32,
    first_token: u32,
    tokens_held: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read> table: array<u32>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let words = params.width / 2u;
    let word = group.x * 64u + lane;
    let row = group.y;
    if word >= words || row >= step[1] {
        return;
    }
    let token = tokens[row];
    if token < params.first_token || token - params.first_token >= params.tokens_held {
        return;
    }
    let pair = table[(token - params.first_token) * words + word];
    let at = row * params.width + word * 2u;
    x[at] = bitcast<f32>(pair << 16u) * params.scale;
    x[at + 1u] = bitcast<f32>(pair & 0xffff0000u) * params.scale;
}
