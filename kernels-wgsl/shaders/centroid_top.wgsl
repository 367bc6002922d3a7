// The clusters that the centroid head searches: chosen[r] = the centroid with the r-th largest score.
//
// Shape     scores [count] f32; chosen [searched] u32. Equal scores rank by lower index.
// Dispatch  (ceil(count / 64), 1), 64 invocations, one centroid each.
// Why       A centroid's rank is the number of centroids before it, which needs no exchange between invocations:
//           count^2 comparisons of cached words beat `searched` rounds of a reduction.

struct Params {
    count: u32,
    searched: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> scores: array<f32>;
@group(0) @binding(3) var<storage, read_write> chosen: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let own = group.x * 64u + lane;
    if own >= params.count {
        return;
    }
    let score = scores[own];
    var rank = 0u;
    for (var other = 0u; other < params.count; other += 1u) {
        let value = scores[other];
        if value > score || (value == score && other < own) {
            rank += 1u;
        }
    }
    if rank < params.searched {
        chosen[rank] = own;
    }
}
