// The ranges of `attention_part` put together: out = sum_r exp(h_r - H) * values_r / sum_r exp(h_r - H) * total_r, H = max h_r.
//
// Shape     partials [rows, heads, ranges, dim + 4] f32 as `attention_part` writes them; out [rows, heads, dim] f32.
// Dispatch  (heads, rows), 64 invocations; lane i holds the vec4s i, i + 64 of the head.
// Why       A row reads the ranges from the start of its window to its last key, which its own position decides. The
//           range with the highest score counts in full, so a row of one range has the bits of `attention`.
// Sum order ranges from the first position to the last.

override HEAD_DIM: u32 = 64u;
override DIM4: u32 = HEAD_DIM / 4u;

struct Params {
    heads: u32,
    window: u32,
    first_seen: u32,
    ranges: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y;
    let query = step[0] + row;
    let end = query + 1u - params.first_seen;
    let begin = select(0u, query + 1u - params.window, query + 1u > params.window);
    let used = (end + 511u) / 512u - begin / 512u;
    let first = (row * params.heads + group.x) * params.ranges * (DIM4 + 1u);
    var highest = partials[first + DIM4].x;
    for (var i = 1u; i < used; i += 1u) {
        highest = max(highest, partials[first + i * (DIM4 + 1u) + DIM4].x);
    }
    var total = 0.0;
    var near = vec4<f32>();
    var far = vec4<f32>();
    for (var i = 0u; i < used; i += 1u) {
        let at = first + i * (DIM4 + 1u);
        let own = partials[at + DIM4];
        let share = select(exp(max(own.x - highest, -80.0)), 1.0, own.x == highest);
        total = fma(share, own.y, total);
        if lane < DIM4 {
            near = fma(vec4<f32>(share), partials[at + lane], near);
        }
        if lane + 64u < DIM4 {
            far = fma(vec4<f32>(share), partials[at + lane + 64u], far);
        }
    }
    let out_at = (row * params.heads + group.x) * DIM4 + lane;
    if lane < DIM4 {
        out[out_at] = near / total;
    }
    if lane + 64u < DIM4 {
        out[out_at + 64u] = far / total;
    }
}
