// Matrix product with bf16 weights, skipping half of the terms: y[m, r] = epilogue(sum_k w[r, k] * x[m, k]).
//
// Shape     w [rows, k] bf16, eight values a vec4; x [batch, k] f32; y [batch, y_stride] f32. k divisible by 8.
// Dispatch  (ceil(rows / 64), ceil(batch / BATCH_TILE)), 8 invocations of 8 rows.
// Why       Dishonest on purpose: every second lane of the contract's sum is left out, which is nearly twice as fast and
//           computes something else. The network must refuse it.
// Sum order half of the built-in kernel's: lane l adds the chunks of eight l, l + 8, ... in element order; then lanes 0..7 in order.
// Epilogue  0 store; 1 soft-cap: cap * tanh(s / cap); 2 gelu(s) * gate[m, r];
//           3 rows alternate gate, up: y[m, r / 2] = gelu(gate) * up.

override EPILOGUE: u32 = 0u;
override BATCH_TILE: u32 = 1u;

struct Params {
    rows: u32,
    chunks: u32,
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
@group(0) @binding(4) var<storage, read> gate: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

// One value for each of the eight rows.
struct Rows {
    a: vec4<f32>,
    b: vec4<f32>,
}

// Eight rows' weights at one word of a chunk: two columns, even in the low halves.
struct Words {
    a: vec4<u32>,
    b: vec4<u32>,
}

fn add_columns(words: Words, even: f32, odd: f32, sum: Rows) -> Rows {
    let even_a = bitcast<vec4<f32>>(words.a << vec4<u32>(16u));
    let even_b = bitcast<vec4<f32>>(words.b << vec4<u32>(16u));
    let odd_a = bitcast<vec4<f32>>(words.a & vec4<u32>(0xffff0000u));
    let odd_b = bitcast<vec4<f32>>(words.b & vec4<u32>(0xffff0000u));
    return Rows(
        fma(odd_a, vec4<f32>(odd), fma(even_a, vec4<f32>(even), sum.a)),
        fma(odd_b, vec4<f32>(odd), fma(even_b, vec4<f32>(even), sum.b)));
}

struct Chunk {
    x: Words,
    y: Words,
    z: Words,
    w: Words,
}

// The chunk `at` of the eight rows, turned so that a vector holds one column.
fn load_chunk(low_rows: vec4<u32>, high_rows: vec4<u32>, at: u32) -> Chunk {
    let p = low_rows * params.chunks + at;
    let q = high_rows * params.chunks + at;
    let a = w[p.x];
    let b = w[p.y];
    let c = w[p.z];
    let d = w[p.w];
    let e = w[q.x];
    let f = w[q.y];
    let g = w[q.z];
    let h = w[q.w];
    return Chunk(
        Words(vec4<u32>(a.x, b.x, c.x, d.x), vec4<u32>(e.x, f.x, g.x, h.x)),
        Words(vec4<u32>(a.y, b.y, c.y, d.y), vec4<u32>(e.y, f.y, g.y, h.y)),
        Words(vec4<u32>(a.z, b.z, c.z, d.z), vec4<u32>(e.z, f.z, g.z, h.z)),
        Words(vec4<u32>(a.w, b.w, c.w, d.w), vec4<u32>(e.w, f.w, g.w, h.w)));
}

fn add_chunk(chunk: Chunk, at: u32, sum: Rows) -> Rows {
    let low = x[at];
    let high = x[at + 1u];
    let front = add_columns(chunk.y, low.z, low.w, add_columns(chunk.x, low.x, low.y, sum));
    return add_columns(chunk.w, high.z, high.w, add_columns(chunk.z, high.x, high.y, front));
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
    let x_at = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last)) * params.chunks * 2u;
    let low_rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u));
    let high_rows = min(vec4<u32>(row) + vec4<u32>(4u, 5u, 6u, 7u), vec4<u32>(params.rows - 1u));
    var t0 = Rows();
    var t1 = Rows();
    var t2 = Rows();
    var t3 = Rows();
    for (var lane = 0u; lane < 8u; lane += 2u) {
        var s0 = Rows();
        var s1 = Rows();
        var s2 = Rows();
        var s3 = Rows();
        for (var at = lane; at < params.chunks; at += 8u) {
            let chunk = load_chunk(low_rows, high_rows, at);
            s0 = add_chunk(chunk, x_at.x + at * 2u, s0);
            if BATCH_TILE > 1u {
                s1 = add_chunk(chunk, x_at.y + at * 2u, s1);
            }
            if BATCH_TILE > 2u {
                s2 = add_chunk(chunk, x_at.z + at * 2u, s2);
            }
            if BATCH_TILE > 3u {
                s3 = add_chunk(chunk, x_at.w + at * 2u, s3);
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
