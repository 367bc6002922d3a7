// Matrix product with int4 weights in groups: y[m, r] = epilogue(sum_g scale[r, g] * sum_k q[r, k] * x[m, k]).
//
// Shape     w [rows, k] codes q + 8, 32 of them a vec4, first code in the lowest nibble; scales bf16, one for every
//           GROUP weights, two a word, each row padded to whole words; x [batch, k] f32; y [batch, y_stride] f32.
//           k divisible by GROUP, and GROUP by 32.
// Dispatch  (ceil(rows / (8 * LANE_ROWS)), ceil(batch / BATCH_TILE)), 64 invocations: 8 lanes to every LANE_ROWS rows.
// Why       Eight lanes of one group each read one 128-byte line of a row. BATCH_TILE batch rows share each weight and
//           LANE_ROWS (1, 2 or 4) rows each load of x, which is eight times the size of the codes it meets.
//           The split into lanes is fixed, so a batch row's sum does not depend on the batch or either tile.
// Sum order each 32 weights in element order from zero; lane l adds scale * sum for l, l + 8, ...; then lanes 0..7.
// Epilogue  0 store; 1 soft-cap: cap * tanh(s / cap); 2 gelu(s) * gate[m, r];
//           3 rows alternate gate, up: y[m, r / 2] = gelu(gate) * up.
// Experts   EXPERTS = e > 0: w is several experts' matrices, one below the other, of which every batch row takes e.
//           Row m * e + s of y is expert gate[m * e + s]'s, from row m of x, or row m * e + s where `gate_stride` is 1.
//           This buffer holds `experts_held` experts from `gate_at` on and answers for no others. BATCH_TILE is 1.

override EPILOGUE: u32 = 0u;
override BATCH_TILE: u32 = 1u;
override LANE_ROWS: u32 = 2u;
override GROUP: u32 = 32u;
override EXPERTS: u32 = 0u;
override PARTIALS: u32 = 64u * LANE_ROWS;

struct Params {
    rows: u32,
    groups: u32,
    y_stride: u32,
    y_at: u32,
    gate_stride: u32,
    gate_at: u32,
    cap: f32,
    experts_held: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;
@group(0) @binding(5) var<storage, read> gate: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

// Eight lanes' sums for every row; one vec4 component per batch row of the tile.
var<workgroup> partial: array<vec4<f32>, PARTIALS>;

// 0x4b000000 is 2^23, whose last mantissa bit is one: or-ing a nibble in adds it exactly.
fn low_codes(word: u32) -> vec4<f32> {
    let nibbles = (vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return bitcast<vec4<f32>>(nibbles | vec4<u32>(0x4b000000u)) - 8388616.0;
}

fn dot8(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, sum: f32) -> f32 {
    let low = fma(a.w, c.w, fma(a.z, c.z, fma(a.y, c.y, fma(a.x, c.x, sum))));
    return fma(b.w, d.w, fma(b.z, d.z, fma(b.y, d.y, fma(b.x, d.x, low))));
}

// A chunk of x of every batch row of the tile.
struct Tile {
    a0: vec4<f32>, b0: vec4<f32>,
    a1: vec4<f32>, b1: vec4<f32>,
    a2: vec4<f32>, b2: vec4<f32>,
    a3: vec4<f32>, b3: vec4<f32>,
}

fn load_tile(at: vec4<u32>) -> Tile {
    var tile = Tile();
    tile.a0 = x[at.x];
    tile.b0 = x[at.x + 1u];
    if BATCH_TILE > 1u {
        tile.a1 = x[at.y];
        tile.b1 = x[at.y + 1u];
    }
    if BATCH_TILE > 2u {
        tile.a2 = x[at.z];
        tile.b2 = x[at.z + 1u];
    }
    if BATCH_TILE > 3u {
        tile.a3 = x[at.w];
        tile.b3 = x[at.w + 1u];
    }
    return tile;
}

// One word of eight codes of a row times the chunk of x.
fn add_word(word: u32, tile: Tile, sum: vec4<f32>) -> vec4<f32> {
    let a = low_codes(word);
    let b = low_codes(word >> 16u);
    var next = sum;
    next.x = dot8(a, b, tile.a0, tile.b0, sum.x);
    if BATCH_TILE > 1u {
        next.y = dot8(a, b, tile.a1, tile.b1, sum.y);
    }
    if BATCH_TILE > 2u {
        next.z = dot8(a, b, tile.a2, tile.b2, sum.z);
    }
    if BATCH_TILE > 3u {
        next.w = dot8(a, b, tile.a3, tile.b3, sum.w);
    }
    return next;
}

// One vec4 over the tile's batch rows for each row of the lane.
struct Sums {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

// One word of every row of the lane.
fn add_words(words: vec4<u32>, tile: Tile, sums: Sums) -> Sums {
    var next = sums;
    next.a = add_word(words.x, tile, sums.a);
    if LANE_ROWS > 1u {
        next.b = add_word(words.y, tile, sums.b);
    }
    if LANE_ROWS > 2u {
        next.c = add_word(words.z, tile, sums.c);
        next.d = add_word(words.w, tile, sums.d);
    }
    return next;
}

fn scale_of(row: u32, group_at: u32) -> vec4<f32> {
    let held = params.groups * 32u / GROUP;
    let at = group_at * 32u / GROUP;
    let pair = scales[row * ((held + 1u) / 2u) + at / 2u];
    return vec4<f32>(bitcast<f32>(select(pair << 16u, pair & 0xffff0000u, (at & 1u) == 1u)));
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
    if batch >= step[1] * max(EXPERTS, 1u) {
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

// Adds up the lanes of the workgroup's rows and stores them, one row of y an invocation.
fn store_tile(group: u32, local: u32, first: u32) {
    let pairs = EPILOGUE == 3u;
    let held = select(8u * LANE_ROWS, 4u * LANE_ROWS, pairs);
    let out_rows = select(params.rows, params.rows / 2u, pairs);
    let out_row = group * held + local;
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

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = (group.x * 8u + local / 8u) * LANE_ROWS;
    var rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u));
    let first = group.y * BATCH_TILE;
    var batch = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(step[1] - 1u));
    if EXPERTS > 0u {
        let expert = u32(gate[first]) - params.gate_at;
        if expert >= params.experts_held {
            return;
        }
        rows += vec4<u32>(expert * params.rows);
        batch = vec4<u32>(select(first / max(EXPERTS, 1u), first, params.gate_stride == 1u));
    }
    let x_at = batch * params.groups * 8u;
    let w_at = rows * params.groups;
    var sums = Sums();
    for (var group_at = local % 8u; group_at < params.groups; group_at += 8u) {
        let p = w[w_at.x + group_at];
        var q = vec4<u32>();
        var r = vec4<u32>();
        var s = vec4<u32>();
        if LANE_ROWS > 1u {
            q = w[w_at.y + group_at];
        }
        if LANE_ROWS > 2u {
            r = w[w_at.z + group_at];
            s = w[w_at.w + group_at];
        }
        let at = x_at + group_at * 8u;
        var own = add_words(vec4<u32>(p.x, q.x, r.x, s.x), load_tile(at), Sums());
        own = add_words(vec4<u32>(p.y, q.y, r.y, s.y), load_tile(at + 2u), own);
        own = add_words(vec4<u32>(p.z, q.z, r.z, s.z), load_tile(at + 4u), own);
        own = add_words(vec4<u32>(p.w, q.w, r.w, s.w), load_tile(at + 6u), own);
        sums.a = fma(scale_of(rows.x, group_at), own.a, sums.a);
        if LANE_ROWS > 1u {
            sums.b = fma(scale_of(rows.y, group_at), own.b, sums.b);
        }
        if LANE_ROWS > 2u {
            sums.c = fma(scale_of(rows.z, group_at), own.c, sums.c);
            sums.d = fma(scale_of(rows.w, group_at), own.d, sums.d);
        }
    }
    let own = local / 8u * LANE_ROWS * 8u + local % 8u;
    partial[own] = sums.a;
    if LANE_ROWS > 1u {
        partial[own + 8u] = sums.b;
    }
    if LANE_ROWS > 2u {
        partial[own + 16u] = sums.c;
        partial[own + 24u] = sums.d;
    }
    workgroupBarrier();
    store_tile(group.x, local, first);
}
