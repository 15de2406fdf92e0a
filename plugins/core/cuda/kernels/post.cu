// What happens to a finished frame. On the CPU: plugins/core/pixels/src/{resample,post,equal}.rs.
#include "common.cuh"

struct Post {
    Comp dst[4];
    Comp src[4];
    Taps across, down;
    Coefficients color;
    u32 x, y, w, h;  // the rectangle of dst
    float weight;    // of what is in dst (mix); code values to 0..1 (replace_luma)
    float scale;     // luma's code values to 0..1 (replace_luma)
    u32 value;       // of a fill
    u32 unused;
};

// Component z of src filtered to the size of dst's.
KERNEL(resample, Post) {
    Comp from = p.src[Z], to = p.dst[Z];
    if (X >= to.width || Y >= to.height) return;
    float v = filtered(p.across, p.down, X, Y,
                       [&](u32 i, u32 j) { return (float)get(from, i, j) * 1.0f + 0.0f; });
    set(to, X, Y, quantise(v, 1.0f, 0.0f, to.max));
}

// dst = src + weight * (dst - src)
KERNEL(mix, Post) {
    Comp to = p.dst[Z];
    if (X >= to.width || Y >= to.height) return;
    float d = (float)get(to, X, Y), c = (float)get(p.src[Z], X, Y);
    set(to, X, Y, quantise(c + p.weight * (d - c), 1.0f, 0.0f, to.max));
}

// RGB in dst gets the luma in src[0].
KERNEL(replace_luma, Post) {
    if (X >= p.dst[0].width || Y >= p.dst[0].height) return;
    float max = (float)p.dst[0].max;
    Rgb c = {(float)get(p.dst[0], X, Y) * p.weight + 0.0f, (float)get(p.dst[1], X, Y) * p.weight + 0.0f,
             (float)get(p.dst[2], X, Y) * p.weight + 0.0f};
    float wanted = (float)get(p.src[0], X, Y) * p.scale + 0.0f;
    float own = luma_of(p.color, c) * p.color.y_scale + p.color.y_black;
    float delta = (wanted - own) * p.color.y_gain;
    set(p.dst[0], X, Y, quantise(c.r + delta, max, 0.0f, p.dst[0].max));
    set(p.dst[1], X, Y, quantise(c.g + delta, max, 0.0f, p.dst[1].max));
    set(p.dst[2], X, Y, quantise(c.b + delta, max, 0.0f, p.dst[2].max));
}

// A rectangle of dst[0] gets one value.
KERNEL(fill, Post) {
    if (X >= p.w || Y >= p.h) return;
    set(p.dst[0], p.x + X, p.y + Y, p.value);
}

struct Differs {
    u64 a, b;
    u64 flags;  // u32 for each rectangle, set to 1 where they differ
    u64 areas;  // u32[4] for each: the first byte of a row and the one after the last, the rows so
    u32 pitch_a, pitch_b;
};

// Which rectangles of bytes differ: Z counts them, X 16 bytes at a time.
KERNEL(differs, Differs) {
    const u32 *area = (const u32 *)p.areas + 4 * Z;
    u32 x = area[0] + 16 * X, y = area[2] + Y;
    if (x >= area[1] || y >= area[3]) return;
    u64 a = p.a + (u64)y * p.pitch_a + x, b = p.b + (u64)y * p.pitch_b + x;
    u32 count = least(16, area[1] - x), other = 0;
    if (count == 16 && ((a | b) & 3) == 0)
        for (u32 i = 0; i < 4; i++) other |= ((const u32 *)a)[i] ^ ((const u32 *)b)[i];
    else
        for (u32 i = 0; i < count; i++) other |= ((const u8 *)a)[i] ^ ((const u8 *)b)[i];
    if (other) ((u32 *)p.flags)[Z] = 1;
}

struct Inspect {
    u64 data;
    u64 result;   // u32[2]: how many are not finite, the bits of the greatest value above 0
    u64 count;
    u32 element;
    u32 unused;
};

// Looks at a tensor for what a network in f16 does when it overflows.
KERNEL(inspect, Inspect) {
    Tensor t = {p.data, 0, 0, 0, 0, 1, p.element};
    u64 threads = (u64)gridDim.x * blockDim.x * blockDim.y;
    u64 first = ((u64)blockIdx.x * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    u32 bad = 0, most = 0;
    for (u64 i = first; i < p.count; i += threads) {
        float v = element(t, (i64)i);
        if (!(v - v == 0.0f))
            bad++;
        else if (v > 0.0f) {
            u32 bits = __float_as_uint(v);
            most = bits > most ? bits : most;
        }
    }
    u32 *result = (u32 *)p.result;
    if (bad) atomicAdd(&result[0], bad);
    if (most) atomicMax(&result[1], most);
}
