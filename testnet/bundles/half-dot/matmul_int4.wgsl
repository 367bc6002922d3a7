// Matrix product with int4 weights in groups of 32, skipping half of the terms:
//   y[m, r] = epilogue(sum_g scale[r, g] * sum_k q[r, k] * x[m, k]).
//
// Shape     w [rows, k] codes q + 8, a group of 32 a vec4, first code in the lowest nibble; scales bf16, two a
//           word, each row padded to whole words; x [batch, k] f32; y [batch, y_stride] f32. k divisible by 32.
// Dispatch  (ceil(rows / 64), ceil(batch / BATCH_TILE)), 8 invocations of 8 rows.
// Why       Dishonest on purpose: every second lane of the contract's sum is left out, which is nearly twice as fast and
//           computes something else. The network must refuse it.
// Sum order half of the built-in kernel's: each group in element order from zero; lane l adds scale * group for l, l + 8, ...; then lanes 0..7.
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

// One value for each of the eight rows.
struct Rows {
    a: vec4<f32>,
    b: vec4<f32>,
}

// Codes of one column of the eight rows; 0x4b000000 is 2^23, into whose last bits a nibble is or-ed exactly.
fn column(words: Words, shift: u32) -> Rows {
    let a = (words.a >> vec4<u32>(shift)) & vec4<u32>(15u);
    let b = (words.b >> vec4<u32>(shift)) & vec4<u32>(15u);
    return Rows(
        bitcast<vec4<f32>>(a | vec4<u32>(0x4b000000u)) - 8388616.0,
        bitcast<vec4<f32>>(b | vec4<u32>(0x4b000000u)) - 8388616.0);
}

struct Words {
    a: vec4<u32>,
    b: vec4<u32>,
}

fn add_column(q: Rows, value: f32, sum: Rows) -> Rows {
    return Rows(fma(q.a, vec4<f32>(value), sum.a), fma(q.b, vec4<f32>(value), sum.b));
}

// Adds one word of eight codes of each row.
fn add_word(words: Words, at: u32, sum: Rows) -> Rows {
    let low = x[at];
    let high = x[at + 1u];
    var s = add_column(column(words, 0u), low.x, sum);
    s = add_column(column(words, 4u), low.y, s);
    s = add_column(column(words, 8u), low.z, s);
    s = add_column(column(words, 12u), low.w, s);
    s = add_column(column(words, 16u), high.x, s);
    s = add_column(column(words, 20u), high.y, s);
    s = add_column(column(words, 24u), high.z, s);
    return add_column(column(words, 28u), high.w, s);
}

struct Group {
    x: Words,
    y: Words,
    z: Words,
    w: Words,
    scale: Rows,
}

fn load_scale(row: u32, at: u32) -> f32 {
    let pair = scales[row * ((params.groups + 1u) / 2u) + at / 2u];
    return bitcast<f32>(select(pair << 16u, pair & 0xffff0000u, (at & 1u) == 1u));
}

// The group `at` of the eight rows, turned so that a vector holds one word of each.
fn load_group(low_rows: vec4<u32>, high_rows: vec4<u32>, at: u32) -> Group {
    let p = low_rows * params.groups + at;
    let q = high_rows * params.groups + at;
    let a = w[p.x];
    let b = w[p.y];
    let c = w[p.z];
    let d = w[p.w];
    let e = w[q.x];
    let f = w[q.y];
    let g = w[q.z];
    let h = w[q.w];
    return Group(
        Words(vec4<u32>(a.x, b.x, c.x, d.x), vec4<u32>(e.x, f.x, g.x, h.x)),
        Words(vec4<u32>(a.y, b.y, c.y, d.y), vec4<u32>(e.y, f.y, g.y, h.y)),
        Words(vec4<u32>(a.z, b.z, c.z, d.z), vec4<u32>(e.z, f.z, g.z, h.z)),
        Words(vec4<u32>(a.w, b.w, c.w, d.w), vec4<u32>(e.w, f.w, g.w, h.w)),
        Rows(
            vec4<f32>(load_scale(low_rows.x, at), load_scale(low_rows.y, at),
                load_scale(low_rows.z, at), load_scale(low_rows.w, at)),
            vec4<f32>(load_scale(high_rows.x, at), load_scale(high_rows.y, at),
                load_scale(high_rows.z, at), load_scale(high_rows.w, at))));
}

fn add_group(group: Group, at: u32, sum: Rows) -> Rows {
    let front = add_word(group.y, at + 2u, add_word(group.x, at, Rows()));
    let all = add_word(group.w, at + 6u, add_word(group.z, at + 4u, front));
    return Rows(fma(group.scale.a, all.a, sum.a), fma(group.scale.b, all.b, sum.b));
}

fn gelu(v: f32) -> f32 {
    let u = 0.7978845608028654 * fma(0.044715 * v * v, v, v);
    return v / (1.0 + exp(clamp(-2.0 * u, -80.0, 80.0)));
}

fn store(batch: u32, row: u32, a: f32, b: f32) {
    if batch >= step[1] || row >= select(params.rows, params.rows / 2u, EPILOGUE == 3u) {
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

fn store_rows(batch: u32, row: u32, sums: Rows) {
    store_four(batch, row, sums.a);
    store_four(batch, row + 4u, sums.b);
}

fn store_four(batch: u32, row: u32, sums: vec4<f32>) {
    if EPILOGUE == 3u {
        store(batch, row / 2u, sums.x, sums.y);
        store(batch, row / 2u + 1u, sums.z, sums.w);
    } else {
        store(batch, row, sums.x, 0.0);
        store(batch, row + 1u, sums.y, 0.0);
        store(batch, row + 2u, sums.z, 0.0);
        store(batch, row + 3u, sums.w, 0.0);
    }
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group.x * 64u + local * 8u;
    let first = group.y * BATCH_TILE;
    let last = step[1] - 1u;
    let x_at = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last)) * params.groups * 8u;
    let low_rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u));
    let high_rows = min(vec4<u32>(row) + vec4<u32>(4u, 5u, 6u, 7u), vec4<u32>(params.rows - 1u));
    var t0 = Rows();
    var t1 = Rows();
    var t2 = Rows();
    var t3 = Rows();
    for (var lane = 0u; lane < min(8u, params.groups); lane += 2u) {
        var s0 = Rows();
        var s1 = Rows();
        var s2 = Rows();
        var s3 = Rows();
        for (var at = lane; at < params.groups; at += 8u) {
            let weights = load_group(low_rows, high_rows, at);
            s0 = add_group(weights, x_at.x + at * 8u, s0);
            if BATCH_TILE > 1u {
                s1 = add_group(weights, x_at.y + at * 8u, s1);
            }
            if BATCH_TILE > 2u {
                s2 = add_group(weights, x_at.z + at * 8u, s2);
            }
            if BATCH_TILE > 3u {
                s3 = add_group(weights, x_at.w + at * 8u, s3);
            }
        }
        t0 = Rows(t0.a + s0.a, t0.b + s0.b);
        if BATCH_TILE > 1u {
            t1 = Rows(t1.a + s1.a, t1.b + s1.b);
        }
        if BATCH_TILE > 2u {
            t2 = Rows(t2.a + s2.a, t2.b + s2.b);
        }
        if BATCH_TILE > 3u {
            t3 = Rows(t3.a + s3.a, t3.b + s3.b);
        }
    }
    store_rows(first, row, t0);
    if BATCH_TILE > 1u {
        store_rows(first + 1u, row, t1);
    }
    if BATCH_TILE > 2u {
        store_rows(first + 2u, row, t2);
    }
    if BATCH_TILE > 3u {
        store_rows(first + 3u, row, t3);
    }
}
