// Routing of a token: the experts with the largest scores, and their shares of the output.
//
// Shape     scores [rows, experts] f32, experts <= 1024; ids, shares [rows, per_token] f32, per_token <= 64.
// Dispatch  (1, rows), 64 invocations; lane i ranks the experts i, i + 64, ...
// Why       A share is the softmax of the score over all experts, divided by the chosen experts' sum of it, times the
//           expert's own scale; the softmax over all experts cancels in that quotient. Ids are stored as f32, which
//           holds them exactly, because the matrix products read them from their gate binding.
// Sum order the chosen experts' exponentials from the largest score to the smallest.
// Order     (larger score, then lower index): every expert has one rank, so no two lanes write one slot.

struct Params {
    experts: u32,
    per_token: u32,
    scale_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> scores: array<f32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> ids: array<f32>;
@group(0) @binding(5) var<storage, read_write> shares: array<f32>;

var<workgroup> score: array<f32, 1024>;
var<workgroup> chosen: array<u32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let base = group.y * params.experts;
    for (var i = lane; i < params.experts; i += 64u) {
        score[i] = scores[base + i];
    }
    workgroupBarrier();
    for (var i = lane; i < params.experts; i += 64u) {
        let own = score[i];
        var rank = 0u;
        for (var j = 0u; j < params.experts; j += 1u) {
            rank += u32(score[j] > own || (score[j] == own && j < i));
        }
        if rank < params.per_token {
            chosen[rank] = i;
        }
    }
    workgroupBarrier();
    if lane >= params.per_token {
        return;
    }
    let highest = score[chosen[0]];
    var total = 0.0;
    for (var s = 0u; s < params.per_token; s += 1u) {
        total += exp(score[chosen[s]] - highest);
    }
    let id = chosen[lane];
    let at = group.y * params.per_token + lane;
    ids[at] = f32(id);
    shares[at] = exp(score[id] - highest) / total * weights[params.scale_at + id];
}
