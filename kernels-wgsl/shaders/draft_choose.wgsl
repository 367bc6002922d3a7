// The drafted token: tokens[slot] = id of the largest candidate logit, the lowest id where several are equal.
// DENSE = 1: the candidates are the whole vocabulary in order; chosen and ordering are not read.
//
// Shape     logits [searched, members] f32; chosen [searched], ordering [clusters, members] u32.
// Dispatch  (1, 1), 256 invocations; lane i scans the candidates i, i + 256, ...
// Why       The token goes where the next draft step and the verification read it, so a round needs no host.
// Order     (larger value, then lower id) is a total order, so the way the lanes are combined does not matter.

override DENSE: u32 = 0u;

struct Params {
    candidates: u32,
    members: u32,
    slot: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> chosen: array<u32>;
@group(0) @binding(3) var<storage, read> ordering: array<u32>;
@group(0) @binding(4) var<storage, read> logits: array<f32>;
@group(0) @binding(5) var<storage, read_write> tokens: array<u32>;

var<workgroup> best_value: array<f32, 256>;
var<workgroup> best_token: array<u32, 256>;

fn fold(lane: u32, stride: u32, end: u32) {
    var value = best_value[lane];
    var token = best_token[lane];
    for (var i = lane + stride; i < end; i += stride) {
        let other = best_value[i];
        if other > value || (other == value && best_token[i] < token) {
            value = other;
            token = best_token[i];
        }
    }
    best_value[lane] = value;
    best_token[lane] = token;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var value = -3.4e38;
    var token = 0xffffffffu;
    for (var i = lane; i < params.candidates; i += 256u) {
        let candidate = logits[i];
        var id = i;
        if DENSE == 0u {
            id = ordering[chosen[i / params.members] * params.members + i % params.members];
        }
        if candidate > value || (candidate == value && id < token) {
            value = candidate;
            token = id;
        }
    }
    best_value[lane] = value;
    best_token[lane] = token;
    workgroupBarrier();
    if lane < 16u {
        fold(lane, 16u, 256u);
    }
    workgroupBarrier();
    if lane == 0u {
        fold(0u, 1u, 16u);
        // Logits that are all NaN choose nothing; token 0 then keeps every later index in range.
        tokens[params.slot] = select(best_token[0], 0u, best_token[0] == 0xffffffffu);
    }
}
