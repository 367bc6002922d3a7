// Matrix product with int4 weights in groups of 32: y[m, r] = epilogue(sum_g scale[r, g] * sum_k q[r, k] * x[m, k]).
//
// Shape     w [rows, k] codes q + 8, a group of 32 a vec4, first code in the lowest nibble; scales bf16, two a
//           word, each row padded to whole words; x [batch, k] f32; y [batch, y_stride] f32. k divisible by 32.
// Dispatch  (ceil(rows / 8), ceil(batch / BATCH_TILE)), 64 invocations: 8 rows of 8 lanes.
// Why       Eight lanes of one group each read one 128-byte line of a row; BATCH_TILE batch rows share each weight.
//           The split into lanes is fixed, so a batch row's sum does not depend on the batch or the tile.
// Sum order each group in element order from zero; lane l adds scale * group for l, l + 8, ...; then lanes 0..7.
// Epilogue  0 store; 1 soft-cap: cap * tanh(s / cap); 2 gelu(s) * gate[m, r];
//           3 rows alternate gate, up: y[m, r / 2] = gelu(gate) * up.

override EPILOGUE: u32 = 0u;
override BATCH_TILE: u32 = 1u;

struct Params {
    rows: u32,
    groups: u32,
    y_stride: u32,
    y_at: u32,
    gate_stride: u32,
    gate_at: u32,
    cap: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;
@group(0) @binding(5) var<storage, read> gate: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

// One vec4 component per batch row of the tile.
var<workgroup> partial: array<vec4<f32>, 64>;

// 0x4b000000 is 2^23, whose last mantissa bit is one: or-ing a nibble in adds it exactly.
fn low_codes(word: u32) -> vec4<f32> {
    let nibbles = (vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return bitcast<vec4<f32>>(nibbles | vec4<u32>(0x4b000000u)) - 8388616.0;
}

fn dot4(a: vec4<f32>, at: u32, sum: f32) -> f32 {
    let b = x[at];
    return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

struct Group {
    a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>,
    e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>,
}

fn unpack(packed: vec4<u32>) -> Group {
    return Group(
        low_codes(packed.x), low_codes(packed.x >> 16u), low_codes(packed.y), low_codes(packed.y >> 16u),
        low_codes(packed.z), low_codes(packed.z >> 16u), low_codes(packed.w), low_codes(packed.w >> 16u));
}

fn dot32(q: Group, at: u32) -> f32 {
    let half = dot4(q.d, at + 3u, dot4(q.c, at + 2u, dot4(q.b, at + 1u, dot4(q.a, at, 0.0))));
    return dot4(q.h, at + 7u, dot4(q.g, at + 6u, dot4(q.f, at + 5u, dot4(q.e, at + 4u, half))));
}

fn gelu(v: f32) -> f32 {
    let u = 0.7978845608028654 * fma(0.044715 * v * v, v, v);
    return v / (1.0 + exp(clamp(-2.0 * u, -80.0, 80.0)));
}

fn lane_sum(row: u32) -> vec4<f32> {
    var sum = partial[row * 8u];
    for (var lane = 1u; lane < 8u; lane += 1u) {
        sum += partial[row * 8u + lane];
    }
    return sum;
}

fn store(batch: u32, row: u32, a: f32, b: f32) {
    if batch >= step[1] {
        return;
    }
    let at = batch * params.y_stride + params.y_at + row;
    if EPILOGUE == 1u {
        let t = exp(clamp(2.0 * a / params.cap, -30.0, 30.0));
        y[at] = params.cap * ((t - 1.0) / (t + 1.0));
    } else if EPILOGUE == 2u {
        y[at] = gelu(a) * gate[batch * params.gate_stride + params.gate_at + row];
    } else if EPILOGUE == 3u {
        y[at] = gelu(a) * b;
    } else {
        y[at] = a;
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = min(group.x * 8u + local / 8u, params.rows - 1u);
    let first = group.y * BATCH_TILE;
    let last = step[1] - 1u;
    let stride = params.groups * 8u;
    let scale_words = (params.groups + 1u) / 2u;
    let x0 = first * stride;
    let x1 = min(first + 1u, last) * stride;
    let x2 = min(first + 2u, last) * stride;
    let x3 = min(first + 3u, last) * stride;
    var sum = vec4<f32>();
    for (var group_at = local % 8u; group_at < params.groups; group_at += 8u) {
        let codes = unpack(w[row * params.groups + group_at]);
        let pair = scales[row * scale_words + group_at / 2u];
        let scale = bitcast<f32>(select(pair << 16u, pair & 0xffff0000u, (group_at & 1u) == 1u));
        sum.x = fma(scale, dot32(codes, x0 + group_at * 8u), sum.x);
        if BATCH_TILE > 1u {
            sum.y = fma(scale, dot32(codes, x1 + group_at * 8u), sum.y);
        }
        if BATCH_TILE > 2u {
            sum.z = fma(scale, dot32(codes, x2 + group_at * 8u), sum.z);
        }
        if BATCH_TILE > 3u {
            sum.w = fma(scale, dot32(codes, x3 + group_at * 8u), sum.w);
        }
    }
    partial[local] = sum;
    workgroupBarrier();

    let pairs = EPILOGUE == 3u;
    let held = select(8u, 4u, pairs);
    let out_rows = select(params.rows, params.rows / 2u, pairs);
    let out_row = group.x * held + local;
    if local >= held || out_row >= out_rows {
        return;
    }
    let a = lane_sum(select(local, local * 2u, pairs));
    var b = a;
    if pairs {
        b = lane_sum(local * 2u + 1u);
    }
    store(first, out_row, a.x, b.x);
    if BATCH_TILE > 1u {
        store(first + 1u, out_row, a.y, b.y);
    }
    if BATCH_TILE > 2u {
        store(first + 2u, out_row, a.z, b.z);
    }
    if BATCH_TILE > 3u {
        store(first + 3u, out_row, a.w, b.w);
    }
}
