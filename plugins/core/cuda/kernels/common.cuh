// What all kernels share: how components of frames, tensors and filter tables are described, and how
// their values are read and written.
//
// Each kernel takes one structure. Its twin in Rust is in src/params.rs, field by field; a test
// compares their sizes with what the compiled kernels say.
//
// Arithmetic is that of plugins/core/pixels, operation by operation: the kernels are compiled without
// fused multiply-add, so that results are equal bit by bit to the CPU's.
#pragma once

#ifdef GSTNEURAL_ON_CPU
#include "on_cpu.h"
#else
#define KERNEL(name, Params) extern "C" __global__ void name(const Params p)
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

// A component of a frame; `data` is its first value.
struct Comp {
    u64 data;
    u32 pitch;  // bytes from a row to the next
    u32 width, height;
    u32 bytes;  // of a sample, 1 or 2
    u32 step;   // samples from a value to the next
    u32 shift;  // bits a value is shifted up by
    u32 max;    // the greatest value
    u32 unused;
};

enum Element { F32 = 0, F16 = 1, U8 = 2 };

// One image of a tensor, seen through depth-to-space by `block`; all distances in elements.
struct Tensor {
    u64 data;
    i64 channel;  // from a channel to the next
    i64 sub;      // from a sub-plane of a channel to the next
    u32 row;      // from a row of a sub-plane to the next
    u32 col;      // from a column of a sub-plane to the next
    u32 block;    // 1: as it is
    u32 element;  // an Element
};

// A filter along one axis: output i is the sum of `taps` samples from starts[i] on.
struct Taps {
    u64 starts;   // i32[outputs]
    u64 weights;  // f32[outputs][taps]
    u32 taps;
    u32 outputs;
};

// How YUV becomes RGB and back: plugins/core/pixels/src/color.rs.
struct Coefficients {
    float y_gain, y_bias, neutral, r_v, g_u, g_v, b_u;
    float kr, kg, kb, y_scale, y_black, u_scale, v_scale;
};

struct Rgb {
    float r, g, b;
};

#define X (blockIdx.x * blockDim.x + threadIdx.x)
#define Y (blockIdx.y * blockDim.y + threadIdx.y)
#define Z (blockIdx.z)

__device__ __forceinline__ u32 least(u32 a, u32 b) { return a < b ? a : b; }

// `at` moved into 0..n.
__device__ __forceinline__ u32 inside(int at, u32 n) {
    return at < 0 ? 0 : (u32)at < n ? (u32)at : n - 1;
}

__device__ __forceinline__ u32 get(const Comp &c, u32 x, u32 y) {
    u64 at = c.data + (u64)y * c.pitch + (u64)x * c.step * c.bytes;
    if (c.bytes == 1) return *(const u8 *)at & c.max;
    return ((u32)*(const u16 *)at >> c.shift) & c.max;
}

__device__ __forceinline__ void set(const Comp &c, u32 x, u32 y, u32 value) {
    u64 at = c.data + (u64)y * c.pitch + (u64)x * c.step * c.bytes;
    if (c.bytes == 1)
        *(u8 *)at = (u8)value;
    else
        *(u16 *)at = (u16)(value << c.shift);
}

// Rounds half up and clamps to 0..=max; NaN is 0.
__device__ __forceinline__ u32 quantise(float v, float scale, float bias, u32 max) {
    float t = v * scale + bias + 0.5f;
    float top = (float)max;
    t = t > 0.0f ? t : 0.0f;
    t = t < top ? t : top;
    return (u32)t;
}

// As f32::clamp(0, 1): NaN stays.
__device__ __forceinline__ float unit(float v) {
    v = v < 0.0f ? 0.0f : v;
    return v > 1.0f ? 1.0f : v;
}

#ifndef GSTNEURAL_ON_CPU
__device__ __forceinline__ float from_half(u16 h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}

__device__ __forceinline__ u16 to_half(float f) {
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}
#endif

// Where channel 0 of a pixel lies. Blocks are nearly always powers of two: no division then.
__device__ __forceinline__ i64 spot(const Tensor &t, u32 x, u32 y) {
    u32 b = t.block;
    if (b == 1) return (i64)y * t.row + (i64)x * t.col;
    if ((b & (b - 1)) == 0) {
        u32 s = 31 - __clz(b), m = b - 1;
        return (i64)((y & m) << s | (x & m)) * t.sub + (i64)(y >> s) * t.row + (i64)(x >> s) * t.col;
    }
    return (i64)((y % b) * b + x % b) * t.sub + (i64)(y / b) * t.row + (i64)(x / b) * t.col;
}

__device__ __forceinline__ i64 place(const Tensor &t, u32 c, u32 x, u32 y) {
    return (i64)c * t.channel + spot(t, x, y);
}

__device__ __forceinline__ float element(const Tensor &t, i64 at) {
    if (t.element == F32) return ((const float *)t.data)[at];
    if (t.element == F16) return from_half(((const u16 *)t.data)[at]);
    return (float)((const u8 *)t.data)[at];
}

__device__ __forceinline__ float get(const Tensor &t, u32 c, u32 x, u32 y) {
    return element(t, place(t, c, x, y));
}

__device__ __forceinline__ void set(const Tensor &t, u32 c, u32 x, u32 y, float v) {
    i64 at = place(t, c, x, y);
    if (t.element == F32)
        ((float *)t.data)[at] = v;
    else if (t.element == F16)
        ((u16 *)t.data)[at] = to_half(v);
    else
        ((u8 *)t.data)[at] = (u8)quantise(v, 1.0f, 0.0f, 255);
}

__device__ __forceinline__ u32 start(const Taps &t, u32 i) { return (u32)((const int *)t.starts)[i]; }

__device__ __forceinline__ const float *weights(const Taps &t, u32 i) {
    return (const float *)t.weights + (u64)i * t.taps;
}

// One output of a separable filter: across first, then down, in ascending order, as the CPU's ring
// of rows. `sample(x, y)` gives the source.
template <class Sample>
__device__ __forceinline__ float filtered(const Taps &across, const Taps &down, u32 x, u32 y,
                                          Sample sample) {
    u32 x0 = start(across, x), y0 = start(down, y);
    const float *wx = weights(across, x), *wy = weights(down, y);
    float sum = 0.0f;
    for (u32 j = 0; j < down.taps; j++) {
        float line = sample(x0, y0 + j) * wx[0];
        for (u32 i = 1; i < across.taps; i++) line += sample(x0 + i, y0 + j) * wx[i];
        sum = j == 0 ? line * wy[0] : sum + line * wy[j];
    }
    return sum;
}

__device__ __forceinline__ Rgb to_rgb(const Coefficients &k, float y, float u, float v) {
    float luma = y * k.y_gain + k.y_bias;
    float cb = u - k.neutral, cr = v - k.neutral;
    Rgb out = {luma + cr * k.r_v, luma + (cb * k.g_u + cr * k.g_v), luma + cb * k.b_u};
    return out;
}

// Without the range: 0 to 1.
__device__ __forceinline__ float luma_of(const Coefficients &k, const Rgb &c) {
    return c.r * k.kr + c.g * k.kg + c.b * k.kb;
}
