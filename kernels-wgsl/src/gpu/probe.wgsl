// Arithmetic and nothing else: how many multiply-adds the adapter delivers.

struct Params { rounds: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    // Four chains hide each other's latency. The factor shrinks every value, so that none leaves the
    // range in which a multiply-add takes its usual time.
    let factor = vec4<f32>(0.999, 0.998, 0.997, 0.996);
    var a = vec4<f32>(f32(id.x & 7u));
    var b = a + 1.0;
    var c = a + 2.0;
    var d = a + 3.0;
    for (var round = 0u; round < params.rounds; round++) {
        a = fma(a, factor, factor);
        b = fma(b, factor, factor);
        c = fma(c, factor, factor);
        d = fma(d, factor, factor);
    }
    // Stored, so that nothing of it can be left out.
    sums[id.x] = dot(a + b + c + d, vec4<f32>(1.0));
}
