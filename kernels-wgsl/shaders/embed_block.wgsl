// Token embedding from a quantised table: x[m, i] = table[tokens[token_at + m], i] * scale.
//
// Shape     table [vocab, 32 * groups] codes and scales [vocab, words of a row], the two planes of a matrix in FORMAT
//           as load/repack.rs writes them; x [rows, x_stride] f32. GROUP weights share a scale in INT8 and INT4.
// Dispatch  (ceil(groups / 64), rows), 64 invocations, 32 weights each.
// Why       The host decodes rows of a table that is not on the device to the same bits: a product of a scale and a
//           code is exact, so a weight rounds once at most. A large table is split by vocabulary rows to fit the
//           adapter's binding limit; this runs once per part and each part answers for the tokens it holds.

override FORMAT: u32 = 0u;
override GROUP: u32 = 32u;

struct Params {
    groups: u32,
    first_token: u32,
    tokens_held: u32,
    scale: f32,
    token_at: u32,
    x_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read> table: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;
@group(0) @binding(5) var<storage, read_write> x: array<f32>;

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
        return Codes(bitcast<vec4<f32>>(table[at + k]), bitcast<vec4<f32>>(table[at + 4u + k]));
    }
    if FORMAT == F16 {
        let a = table[at + k / 2u];
        let b = table[at + 2u + k / 2u];
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

fn store(at: u32, scale: f32, min: f32, codes: vec4<f32>) {
    let values = fma(vec4<f32>(scale), codes, vec4<f32>(min)) * params.scale;
    x[at] = values.x;
    x[at + 1u] = values.y;
    x[at + 2u] = values.z;
    x[at + 3u] = values.w;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = workgroup.x * 64u + lane;
    let row = workgroup.y;
    if g >= params.groups || row >= step[1] {
        return;
    }
    let token = tokens[params.token_at + row];
    if token < params.first_token || token - params.first_token >= params.tokens_held {
        return;
    }
    let held = token - params.first_token;
    let group = group_of(held * words(params.groups), g, params.groups);
    let at = (held * params.groups + g) * vectors();
    let p = table[at];
    var q = vec4<u32>();
    if vectors() == 2u {
        q = table[at + 1u];
    }
    let out = row * params.x_stride + g * 32u;
    for (var k = 0u; k < 4u; k += 1u) {
        let codes = codes_of(p[k], q[k], group, at, k);
        store(out + 4u * k, group.low, group.min, codes.a);
        store(out + 16u + 4u * k, group.high, group.min, codes.b);
    }
}
