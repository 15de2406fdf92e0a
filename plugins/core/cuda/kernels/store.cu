// The network's output into frames: depth-to-space, range, rounding, colour.
// On the CPU: plugins/core/inference/src/sink.rs, plugins/core/pixels/src/store.rs.
#include "common.cuh"

struct Store {
    Tensor src;
    Comp dst[3];
    Coefficients color;
    Taps across, down;  // chroma to its own size
    u32 from_x, from_y; // the first pixel of the tensor that is taken
    u32 to_x, to_y;     // and where it goes
    u32 w, h;           // how many are taken
    u32 order[3];       // the channel of component z; of R, G, B
    float scale, bias;  // a value's code is value * scale + bias
    float inverse;      // 1 / the network's white
    u32 unused;
};

// Channel order[z] to component z.
KERNEL(store_each, Store) {
    if (X >= p.w || Y >= p.h) return;
    Comp c = p.dst[Z];
    float v = get(p.src, p.order[Z], p.from_x + X, p.from_y + Y);
    set(c, p.to_x + X, p.to_y + Y, quantise(v, p.scale, p.bias, c.max));
}

__device__ __forceinline__ Rgb pixel(const Store &p, u32 x, u32 y) {
    i64 at = spot(p.src, x, y), far = p.src.channel;
    Rgb c = {unit(element(p.src, at + p.order[0] * far) * p.inverse),
             unit(element(p.src, at + p.order[1] * far) * p.inverse),
             unit(element(p.src, at + p.order[2] * far) * p.inverse)};
    return c;
}

// RGB to luma: component 0.
KERNEL(store_luma_of_rgb, Store) {
    if (X >= p.w || Y >= p.h) return;
    float y = luma_of(p.color, pixel(p, X, Y)) * p.color.y_scale + p.color.y_black;
    set(p.dst[0], X, Y, quantise(y, p.scale, p.bias, p.dst[0].max));
}

// RGB to Cb and Cr at their own size: components 1 and 2.
KERNEL(store_chroma_of_rgb, Store) {
    if (X >= p.w || Y >= p.h) return;
    u32 x0 = start(p.across, X), y0 = start(p.down, Y);
    const float *wx = weights(p.across, X), *wy = weights(p.down, Y);
    float cb = 0.0f, cr = 0.0f;
    for (u32 j = 0; j < p.down.taps; j++) {
        float line_b = 0.0f, line_r = 0.0f;
        for (u32 i = 0; i < p.across.taps; i++) {
            Rgb c = pixel(p, x0 + i, y0 + j);
            float luma = luma_of(p.color, c);
            float b = (c.b - luma) * p.color.u_scale + p.color.neutral;
            float r = (c.r - luma) * p.color.v_scale + p.color.neutral;
            line_b = i == 0 ? b * wx[0] : line_b + b * wx[i];
            line_r = i == 0 ? r * wx[0] : line_r + r * wx[i];
        }
        cb = j == 0 ? line_b * wy[0] : cb + line_b * wy[j];
        cr = j == 0 ? line_r * wy[0] : cr + line_r * wy[j];
    }
    set(p.dst[1], X, Y, quantise(cb, p.scale, p.bias, p.dst[1].max));
    set(p.dst[2], X, Y, quantise(cr, p.scale, p.bias, p.dst[2].max));
}

struct Gather {
    Tensor src;
    Tensor dst;         // f32 planes of the whole result
    u64 across, down;   // f32[w], f32[h]: weights of a blended tile; 0: none
    u32 from_x, from_y;
    u32 to_x, to_y;
    u32 w, h;
    u32 from_channel, to_channel;  // of z = 0
};

// A tile into planes of the whole frame, as it is.
KERNEL(gather, Gather) {
    if (X >= p.w || Y >= p.h) return;
    float v = get(p.src, p.from_channel + Z, p.from_x + X, p.from_y + Y);
    set(p.dst, p.to_channel + Z, p.to_x + X, p.to_y + Y, v);
}

// A tile added to planes of the whole frame by weight.
KERNEL(gather_weighted, Gather) {
    if (X >= p.w || Y >= p.h) return;
    float v = get(p.src, p.from_channel + Z, p.from_x + X, p.from_y + Y);
    float old = get(p.dst, p.to_channel + Z, p.to_x + X, p.to_y + Y);
    float sum = old + v * ((const float *)p.across)[X] * ((const float *)p.down)[Y];
    set(p.dst, p.to_channel + Z, p.to_x + X, p.to_y + Y, sum);
}
