// Matrix product with bf16 weights, two rows a workgroup: y[m, r] = epilogue(sum_k w[r, k] * x[m, k]).
//
// Shape     w [rows, k] bf16, eight values a vec4; x [batch, k] f32; y [batch, y_stride] f32. k divisible by 8.
// Dispatch  (ceil(rows / 2), batch), 16 invocations: 8 lanes to every row.
// Why       Deliberately poor: every workgroup loads all of x for two rows, and every batch row all weights again.
// Sum order the built-in kernel's: lane l adds the chunks of eight l, l + 8, ... in element order; then lanes 0..7 in order.
// Epilogue  0 store; 1 soft-cap: cap * tanh(s / cap); 2 gelu(s) * gate[m, r];
//           3 rows alternate gate, up: y[m, r / 2] = gelu(gate) * up.

override EPILOGUE: u32 = 0u;

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

// Eight lanes' sums for both rows.
var<workgroup> partial: array<f32, 16>;

fn widen(pair: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(
        pair.x << 16u, pair.x & 0xffff0000u, pair.y << 16u, pair.y & 0xffff0000u));
}

fn dot8(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, sum: f32) -> f32 {
    let low = fma(a.w, c.w, fma(a.z, c.z, fma(a.y, c.y, fma(a.x, c.x, sum))));
    return fma(b.w, d.w, fma(b.z, d.z, fma(b.y, d.y, fma(b.x, d.x, low))));
}

fn gelu(v: f32) -> f32 {
    let u = 0.7978845608028654 * fma(0.044715 * v * v, v, v);
    return v / (1.0 + exp(clamp(-2.0 * u, -80.0, 80.0)));
}

fn lane_sum(row: u32) -> f32 {
    var sum = partial[row * 8u];
    for (var lane = 1u; lane < 8u; lane += 1u) {
        sum += partial[row * 8u + lane];
    }
    return sum;
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

@compute @workgroup_size(16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = min(group.x * 2u + local / 8u, params.rows - 1u);
    let batch = min(group.y, step[1] - 1u);
    var sum = 0.0;
    for (var chunk = local % 8u; chunk < params.chunks; chunk += 8u) {
        let packed = w[row * params.chunks + chunk];
        let at = (batch * params.chunks + chunk) * 2u;
        sum = dot8(widen(packed.xy), widen(packed.zw), x[at], x[at + 1u], sum);
    }
    partial[local] = sum;
    workgroupBarrier();
    if EPILOGUE == 3u {
        if local == 0u {
            store(group.y, group.x, lane_sum(0u), lane_sum(1u));
        }
    } else if local < 2u {
        store(group.y, group.x * 2u + local, lane_sum(local), 0.0);
    }
}
