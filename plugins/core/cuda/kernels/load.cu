// Frames into the network's input: range, padding and, where needed, colour.
// On the CPU: plugins/core/inference/src/source.rs.
#include "common.cuh"

struct Load {
    Comp src[3];  // one for each value of grid.z; all of one size
    Tensor dst;
    Coefficients color;
    Taps across, down;  // chroma to luma's size
    int x, y;           // the tile's corner in the frame
    u32 w, h;           // its size
    u32 channels;       // of the tensor
    u32 order[3];       // which of R, G, B each channel is
    float scale;        // of a code value
    float white;        // the network's
};

// Component z to channel z.
KERNEL(load_each, Load) {
    if (X >= p.w || Y >= p.h) return;
    Comp c = p.src[Z];
    u32 v = get(c, inside(p.x + (int)X, c.width), inside(p.y + (int)Y, c.height));
    set(p.dst, Z, X, Y, (float)v * p.scale + 0.0f);
}

// Component 0 to all channels.
KERNEL(load_same, Load) {
    if (X >= p.w || Y >= p.h) return;
    const Comp &c = p.src[0];
    u32 v = get(c, inside(p.x + (int)X, c.width), inside(p.y + (int)Y, c.height));
    for (u32 i = 0; i < p.channels; i++) set(p.dst, i, X, Y, (float)v * p.scale + 0.0f);
}

// Luma of R, G, B to all channels.
KERNEL(load_luma_of_rgb, Load) {
    if (X >= p.w || Y >= p.h) return;
    u32 x = inside(p.x + (int)X, p.src[0].width), y = inside(p.y + (int)Y, p.src[0].height);
    Rgb c = {(float)get(p.src[0], x, y) * p.scale + 0.0f, (float)get(p.src[1], x, y) * p.scale + 0.0f,
             (float)get(p.src[2], x, y) * p.scale + 0.0f};
    float v = (luma_of(p.color, c) * p.color.y_scale + p.color.y_black) * p.white;
    for (u32 i = 0; i < p.channels; i++) set(p.dst, i, X, Y, v);
}

// Y, Cb, Cr to RGB, the chroma upsampled to its siting.
KERNEL(load_rgb_of_yuv, Load) {
    if (X >= p.w || Y >= p.h) return;
    u32 x = inside(p.x + (int)X, p.src[0].width), y = inside(p.y + (int)Y, p.src[0].height);
    const Comp &cb = p.src[1], &cr = p.src[2];
    float scale = p.scale;
    float luma = (float)get(p.src[0], x, y) * scale + 0.0f;
    float u = filtered(p.across, p.down, x, y,
                       [&](u32 i, u32 j) { return (float)get(cb, i, j) * scale + 0.0f; });
    float v = filtered(p.across, p.down, x, y,
                       [&](u32 i, u32 j) { return (float)get(cr, i, j) * scale + 0.0f; });
    Rgb c = to_rgb(p.color, luma, u, v);
    for (u32 i = 0; i < p.channels; i++) {
        float value = p.order[i] == 0 ? c.r : p.order[i] == 1 ? c.g : c.b;
        set(p.dst, i, X, Y, unit(value) * p.white);
    }
}
