// Greedy choice: next[m] = index of the largest logit of row m, the lowest index where several are equal.
//
// Shape     logits [rows, width] f32; next [rows] u32.
// Dispatch  (1, rows), 256 invocations; lane i scans i, i + 256, ...
// Why       FEED = 1 (single-token steps only) also writes the token where the next step reads it and moves the
//           position on, so that step N + 1 can be submitted before the host has seen step N.
// Order     (larger value, then lower index) is a total order, so the way the lanes are combined does not matter.

override FEED: u32 = 0u;

struct Params {
    width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> step: array<u32>;
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> next: array<u32>;
@group(0) @binding(4) var<storage, read_write> tokens: array<u32>;

var<workgroup> best_value: array<f32, 256>;
var<workgroup> best_index: array<u32, 256>;

fn fold(lane: u32, step_by: u32, end: u32) {
    var value = best_value[lane];
    var index = best_index[lane];
    for (var i = lane + step_by; i < end; i += step_by) {
        let other = best_value[i];
        if other > value || (other == value && best_index[i] < index) {
            value = other;
            index = best_index[i];
        }
    }
    best_value[lane] = value;
    best_index[lane] = index;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let base = group.y * params.width;
    var value = -3.4e38;
    var index = min(lane, params.width - 1u);
    for (var i = lane; i < params.width; i += 256u) {
        let candidate = logits[base + i];
        if candidate > value {
            value = candidate;
            index = i;
        }
    }
    best_value[lane] = value;
    best_index[lane] = index;
    workgroupBarrier();
    if lane < 16u {
        fold(lane, 16u, 256u);
    }
    workgroupBarrier();
    if lane == 0u {
        fold(0u, 1u, 16u);
        next[group.y] = best_index[0];
        if FEED == 1u {
            tokens[0] = best_index[0];
            step[0] += 1u;
        }
    }
}
