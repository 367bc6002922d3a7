// Matrix product with quantised weights: y[m, r] = epilogue(sum_g scale[r, g] * sum_k q[r, k] * x[m, k] + min[r, g] * sum_k x[m, k]).
//
// Shape     w [rows, k] codes, the plane of whole vectors; scales [rows, words of a row], the plane of everything
//           else, laid out by FORMAT as load/repack.rs writes them; x [batch, k] f32; y [batch, y_stride] f32. k
//           divisible by 32, and by 256 for Q4_K, Q5_K and Q6_K. GROUP weights share a scale in INT8 and INT4.
// Dispatch  (ceil(rows / 8), ceil(batch / BATCH_TILE)), 64 invocations: 8 lanes to every row.
// Why       One kernel for every storage type: FORMAT is folded when the pipeline is made, so each variant has only
//           its own decoding. 32 weights are one load (two of 8-bit codes) and stay codes until their sum is scaled.
//           BATCH_TILE batch rows share each weight. The split into lanes is fixed, so a batch row's sum does not
//           depend on the batch or the tile.
// Experts   EXPERTS = e > 0: w is several experts' matrices, one below the other, of which every batch row takes e.
//           Row m * e + s of y is expert gate[m * e + s]'s, from row m of x, or row m * e + s where `gate_stride` is 1.
//           This buffer holds `experts_held` experts from `gate_at` on and answers for no others. BATCH_TILE is 1.
// Sum order the first and the last sixteen of each 32 in element order from zero; lane l adds them, scaled, for
//           l, l + 8, ...; then lanes 0..7 in order.
// Epilogue  0 store; 1 soft-cap: cap * tanh(s / cap); 2 gelu(s) * gate[m, r];
//           3 rows alternate gate, up: y[m, r / 2] = gelu(gate) * up.

override EPILOGUE: u32 = 0u;
override BATCH_TILE: u32 = 1u;
override EXPERTS: u32 = 0u;
override FORMAT: u32 = 0u;
override GROUP: u32 = 32u;

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
var<workgroup> partial: array<vec4<f32>, 64>;

const F32: u32 = 0u;
const F16: u32 = 1u;
const Q4_0: u32 = 2u;
const Q4_1: u32 = 3u;
const Q5_0: u32 = 4u;
const Q5_1: u32 = 5u;
const Q8_0: u32 = 6u;
const Q4_K: u32 = 7u;
const Q5_K: u32 = 8u;
const Q6_K: u32 = 9u;
const IQ4_NL: u32 = 10u;
const INT8: u32 = 11u;
const INT4: u32 = 12u;

// IQ4_NL's sixteen values plus 128, one a byte.
const IQ4_VALUES: vec4<u32> = vec4<u32>(0x3f2d1801u, 0x766a5d4fu, 0xa6998d81u, 0xf1d9c5b5u);

// What a group's codes are multiplied with and added to, and the bits of its codes above the fourth.
struct Group {
    low: f32,
    high: f32,
    min: f32,
    bits: vec2<u32>,
}

// Weights 4 k to 4 k + 3 of a group and the four that lie sixteen further on, before scaling.
struct Codes {
    a: vec4<f32>,
    b: vec4<f32>,
}

// Vectors of the code plane for 32 weights.
fn vectors() -> u32 {
    if FORMAT == F32 {
        return 8u;
    }
    if FORMAT == F16 {
        return 4u;
    }
    return select(1u, 2u, FORMAT == Q8_0 || FORMAT == INT8);
}

// Words of the other plane for a row.
fn words(groups: u32) -> u32 {
    switch FORMAT {
        case Q4_0, Q8_0, IQ4_NL: { return (groups + 1u) / 2u; }
        case Q4_1: { return groups; }
        case Q5_0: { return groups + (groups + 1u) / 2u; }
        case Q5_1: { return groups * 2u; }
        case Q4_K: { return groups / 8u * 4u; }
        case Q5_K: { return groups / 8u * 12u; }
        case Q6_K: { return groups / 8u * 20u + (groups / 8u + 1u) / 2u; }
        case INT8, INT4: { return groups * 32u / GROUP; }
        default: { return 0u; }
    }
}

// An f16 as f32, also where it is subnormal, which a built-in conversion may flush to zero.
fn half(bits: u32) -> f32 {
    let magnitude = (bits & 0x7fffu) << 13u;
    let normal = bitcast<f32>(magnitude + 0x38000000u);
    let subnormal = bitcast<f32>(magnitude | 0x38800000u) - 6.103515625e-05;
    let value = select(normal, subnormal, magnitude < 0x00800000u);
    return select(value, -value, (bits & 0x8000u) != 0u);
}

// The i-th f16 behind the word `at`.
fn half_at(at: u32, i: u32) -> f32 {
    return half((scales[at + i / 2u] >> ((i & 1u) * 16u)) & 0xffffu);
}

// Scale and minimum j of the eight that follow the word `at` of a Q4_K or Q5_K block.
fn six_bit_pair(at: u32, j: u32) -> vec2<f32> {
    let shift = (j & 3u) * 8u;
    let s = vec3<u32>(scales[at + 1u], scales[at + 2u], scales[at + 3u]) >> vec3<u32>(shift);
    let near = vec2<u32>(s.x & 63u, s.y & 63u);
    let far = vec2<u32>((s.z & 15u) | ((s.x & 0xc0u) >> 2u), ((s.z >> 4u) & 15u) | ((s.y & 0xc0u) >> 2u));
    let pair = select(far, near, j < 4u);
    return vec2<f32>(half_at(at, 0u), -half_at(at, 1u)) * vec2<f32>(pair);
}

fn signed_byte(word: u32, i: u32) -> f32 {
    return f32(i32(word << (24u - 8u * i)) >> 24u);
}

// Group g of the row whose other plane begins at the word `at`.
fn group_of(at: u32, g: u32, groups: u32) -> Group {
    var group = Group(1.0, 1.0, 0.0, vec2<u32>());
    if FORMAT == Q4_0 || FORMAT == Q8_0 || FORMAT == IQ4_NL {
        group.low = half_at(at, g);
        group.high = group.low;
    } else if FORMAT == Q4_1 {
        group.low = half_at(at + g, 0u);
        group.high = group.low;
        group.min = half_at(at + g, 1u);
    } else if FORMAT == Q5_0 {
        group.bits.x = scales[at + g];
        group.low = half_at(at + groups, g);
        group.high = group.low;
    } else if FORMAT == Q5_1 {
        group.bits.x = scales[at + 2u * g];
        group.low = half_at(at + 2u * g + 1u, 0u);
        group.high = group.low;
        group.min = half_at(at + 2u * g + 1u, 1u);
    } else if FORMAT == Q4_K || FORMAT == Q5_K {
        let block = at + g / 8u * select(4u, 12u, FORMAT == Q5_K);
        let pair = six_bit_pair(block, g & 7u);
        group.low = pair.x;
        group.high = pair.x;
        group.min = pair.y;
        if FORMAT == Q5_K {
            group.bits.x = scales[block + 4u + (g & 7u)];
        }
    } else if FORMAT == Q6_K {
        let block = at + g / 8u * 20u;
        let d = half_at(at + groups / 8u * 20u, g / 8u);
        let scale = scales[block + (g & 7u) / 2u];
        group.low = d * signed_byte(scale, (g & 1u) * 2u);
        group.high = d * signed_byte(scale, (g & 1u) * 2u + 1u);
        let bits = block + 4u + (g & 7u) * 2u;
        group.bits = vec2<u32>(scales[bits], scales[bits + 1u]);
    } else if FORMAT == INT8 || FORMAT == INT4 {
        group.low = bitcast<f32>(scales[at + g * 32u / GROUP]);
        group.high = group.low;
    }
    return group;
}

// 0x4b000000 is 2^23, whose last mantissa bit is one: or-ing a code in adds it exactly.
fn exact(codes: vec4<u32>, offset: f32) -> vec4<f32> {
    return bitcast<vec4<f32>>(codes | vec4<u32>(0x4b000000u)) - (8388608.0 + offset);
}

fn bytes(word: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}

fn halves(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(half(words.x & 0xffffu), half(words.x >> 16u), half(words.y & 0xffffu), half(words.y >> 16u));
}

// Bits above the fourth of four codes: one each from bit 4 k of `word`, or two each from bit 8 k.
fn upper(word: u32, k: u32) -> vec4<u32> {
    if FORMAT == Q6_K {
        return ((vec4<u32>(word >> (8u * k)) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u)) << vec4<u32>(4u);
    }
    return ((vec4<u32>(word >> (4u * k)) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u)) << vec4<u32>(4u);
}

fn iq4_values(codes: vec4<u32>) -> vec4<u32> {
    var values = vec4<u32>();
    for (var i = 0u; i < 4u; i += 1u) {
        values[i] = (IQ4_VALUES[codes[i] >> 2u] >> ((codes[i] & 3u) * 8u)) & 255u;
    }
    return values;
}

// Codes 4 k to 4 k + 3 and those sixteen further on, of the group whose code plane begins at the vector `at`
// and whose first vectors are p and q.
fn codes_of(p: u32, q: u32, group: Group, at: u32, k: u32) -> Codes {
    if FORMAT == F32 {
        return Codes(bitcast<vec4<f32>>(w[at + k]), bitcast<vec4<f32>>(w[at + 4u + k]));
    }
    if FORMAT == F16 {
        let a = w[at + k / 2u];
        let b = w[at + 2u + k / 2u];
        let odd = (k & 1u) == 1u;
        return Codes(halves(select(a.xy, a.zw, odd)), halves(select(b.xy, b.zw, odd)));
    }
    if FORMAT == Q8_0 || FORMAT == INT8 {
        return Codes(exact(bytes(p), 128.0), exact(bytes(q), 128.0));
    }
    let low = bytes(p & 0x0f0f0f0fu);
    let high = bytes((p >> 4u) & 0x0f0f0f0fu);
    if FORMAT == IQ4_NL {
        return Codes(exact(iq4_values(low), 128.0), exact(iq4_values(high), 128.0));
    }
    if FORMAT == Q5_0 || FORMAT == Q5_1 || FORMAT == Q5_K {
        let offset = select(0.0, 16.0, FORMAT == Q5_0);
        return Codes(
            exact(low | upper(group.bits.x, k), offset),
            exact(high | upper(group.bits.x, 4u + k), offset));
    }
    if FORMAT == Q6_K {
        return Codes(
            exact(low | upper(group.bits.x, k), 32.0),
            exact(high | upper(group.bits.y, k), 32.0));
    }
    let offset = select(0.0, 8.0, FORMAT == Q4_0 || FORMAT == INT4);
    return Codes(exact(low, offset), exact(high, offset));
}

fn dot4(a: vec4<f32>, b: vec4<f32>, sum: f32) -> f32 {
    return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

// Sums over a group for the batch rows of the tile: its two halves, and x alone.
struct Sums {
    low: vec4<f32>,
    high: vec4<f32>,
    x: vec4<f32>,
}

fn has_min() -> bool {
    return FORMAT == Q4_1 || FORMAT == Q5_1 || FORMAT == Q4_K || FORMAT == Q5_K;
}

// Adds the products of eight codes with x of one batch row; the result is (low, high, x).
fn add_row(codes: Codes, at: u32, sum: vec3<f32>) -> vec3<f32> {
    let a = x[at];
    let b = x[at + 4u];
    var next = vec3<f32>(dot4(codes.a, a, sum.x), dot4(codes.b, b, sum.y), sum.z);
    if has_min() {
        next.z = sum.z + (((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w)));
    }
    return next;
}

fn add_codes(codes: Codes, at: vec4<u32>, sums: Sums) -> Sums {
    var next = sums;
    let first = add_row(codes, at.x, vec3<f32>(sums.low.x, sums.high.x, sums.x.x));
    next.low.x = first.x;
    next.high.x = first.y;
    next.x.x = first.z;
    if BATCH_TILE > 1u {
        let second = add_row(codes, at.y, vec3<f32>(sums.low.y, sums.high.y, sums.x.y));
        next.low.y = second.x;
        next.high.y = second.y;
        next.x.y = second.z;
    }
    if BATCH_TILE > 2u {
        let third = add_row(codes, at.z, vec3<f32>(sums.low.z, sums.high.z, sums.x.z));
        next.low.z = third.x;
        next.high.z = third.y;
        next.x.z = third.z;
    }
    if BATCH_TILE > 3u {
        let fourth = add_row(codes, at.w, vec3<f32>(sums.low.w, sums.high.w, sums.x.w));
        next.low.w = fourth.x;
        next.high.w = fourth.y;
        next.x.w = fourth.z;
    }
    return next;
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

// Batch rows, or slots of them.
fn batch_rows() -> u32 {
    return step[1] * max(EXPERTS, 1u);
}

fn store(batch: u32, row: u32, a: f32, b: f32) {
    if batch >= batch_rows() {
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
    let held = select(8u, 4u, pairs);
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
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = workgroup.y * BATCH_TILE;
    var batch = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(batch_rows() - 1u));
    var row = min(workgroup.x * 8u + local / 8u, params.rows - 1u);
    if EXPERTS > 0u {
        let expert = u32(gate[first]) - params.gate_at;
        if expert >= params.experts_held {
            return;
        }
        row += expert * params.rows;
        batch = vec4<u32>(select(first / max(EXPERTS, 1u), first, params.gate_stride == 1u));
    }
    let x_at = batch * params.groups * 8u;
    let w_at = row * params.groups * vectors();
    let scales_at = row * words(params.groups);
    var sum = vec4<f32>();
    for (var g = local % 8u; g < params.groups; g += 8u) {
        let group = group_of(scales_at, g, params.groups);
        let at = w_at + g * vectors();
        let p = w[at];
        var q = vec4<u32>();
        if vectors() == 2u {
            q = w[at + 1u];
        }
        let from_x = x_at + g * 8u;
        var own = add_codes(codes_of(p.x, q.x, group, at, 0u), from_x, Sums());
        own = add_codes(codes_of(p.y, q.y, group, at, 1u), from_x + 1u, own);
        own = add_codes(codes_of(p.z, q.z, group, at, 2u), from_x + 2u, own);
        own = add_codes(codes_of(p.w, q.w, group, at, 3u), from_x + 3u, own);
        sum = fma(vec4<f32>(group.low), own.low, sum);
        sum = fma(vec4<f32>(group.high), own.high, sum);
        if has_min() {
            sum = fma(vec4<f32>(group.min), own.x, sum);
        }
    }
    partial[local] = sum;
    workgroupBarrier();
    store_tile(workgroup.x, local, first);
}
