// Input of a draft step: out = [table[tokens[slot]] * scale ; hidden].
//
// Shape     table [vocab, width] bf16, two values a word; hidden [width] f32; out [2 * width] f32.
// Dispatch  (ceil(width / 128), 1), 64 invocations, one word of the embedding and two values of `hidden` each.
// Why       The table is the target's and may be split by vocabulary rows: each part answers for the tokens it holds,
//           and the part that begins at token 0 copies the hidden state.

struct Params {
    width: u32,
    first_token: u32,
    tokens_held: u32,
    scale: f32,
    slot: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read> table: array<u32>;
@group(0) @binding(4) var<storage, read> hidden: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let words = params.width / 2u;
    let word = group.x * 64u + lane;
    if word >= words {
        return;
    }
    if params.first_token == 0u {
        out[params.width + word * 2u] = hidden[word * 2u];
        out[params.width + word * 2u + 1u] = hidden[word * 2u + 1u];
    }
    let token = tokens[params.slot];
    if token < params.first_token || token - params.first_token >= params.tokens_held {
        return;
    }
    let pair = table[(token - params.first_token) * words + word];
    out[word * 2u] = bitcast<f32>(pair << 16u) * params.scale;
    out[word * 2u + 1u] = bitcast<f32>(pair & 0xffff0000u) * params.scale;
}
