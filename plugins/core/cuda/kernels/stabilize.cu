// Less flicker. On the CPU: plugins/core/pixels/src/stabilize.rs.
#include "common.cuh"

#define BOX 5
#define ROWS 16

struct Stabilize {
    Comp input[3];     // luma, or R, G, B
    Comp classical[3];
    Comp out[3];
    u64 previous;      // u8[input height][input width]: luma of the frame before
    u64 difference;    // the same: how far it is from this one's
    u64 total;         // u64: sum of the differences
    u64 state;         // i16[component][out height][out width]
    u64 weights;       // f32[255 * BOX * BOX + 1]
    float amount;
    float share;       // 255 / the greatest value
    float to_unit, from_unit;
    u32 scene_cut;     // a mean difference above it forgets the past
    u32 components;    // 1: luma, 3: R, G, B
};

__device__ __forceinline__ u32 luma8(const Stabilize &p, u32 x, u32 y) {
    float v;
    if (p.components == 1)
        v = (float)get(p.input[0], x, y) * p.share + 0.0f;
    else
        v = ((float)get(p.input[0], x, y) * (0.25f * p.share) + 0.0f) +
            ((float)get(p.input[1], x, y) * (0.5f * p.share) + 0.0f) +
            ((float)get(p.input[2], x, y) * (0.25f * p.share) + 0.0f);
    return quantise(v, 1.0f, 0.0f, 255);
}

// Luma and how far it moved; ROWS rows for each thread, so that few of them add to the total.
KERNEL(motion, Stabilize) {
    u32 width = p.input[0].width, height = p.input[0].height;
    if (X >= width) return;
    u32 sum = 0;
    for (u32 i = 0; i < ROWS; i++) {
        u32 y = Y * ROWS + i;
        if (y >= height) break;
        u64 at = (u64)y * width + X;
        u8 *previous = (u8 *)p.previous + at;
        u32 now = luma8(p, X, y), before = *previous;
        u32 d = now > before ? now - before : before - now;
        ((u8 *)p.difference)[at] = (u8)d;
        *previous = (u8)now;
        sum += d;
    }
    if (sum) atomicAdd((u64 *)p.total, (u64)sum);
}

// The residual averaged where nothing moved; component z.
KERNEL(smooth, Stabilize) {
    Comp out = p.out[Z];
    if (X >= out.width || Y >= out.height) return;
    u32 width = p.input[0].width, height = p.input[0].height;
    float alpha = 0.0f;
    u64 mean = *(const u64 *)p.total / ((u64)width * height);
    if (p.amount > 0.0f && mean <= p.scene_cut) {
        int x = (int)((u64)X * width / out.width), y = (int)((u64)Y * height / out.height);
        u32 sum = 0;
        for (int j = -(BOX / 2); j <= BOX / 2; j++)
            for (int i = -(BOX / 2); i <= BOX / 2; i++)
                sum += ((const u8 *)p.difference)[(u64)inside(y + j, height) * width + inside(x + i, width)];
        alpha = p.amount * ((const float *)p.weights)[sum];
    }
    short *state = (short *)p.state + ((u64)Z * out.height + Y) * out.width + X;
    float o = (float)get(out, X, Y) * 1.0f + 0.0f, c = (float)get(p.classical[Z], X, Y) * 1.0f + 0.0f;
    float residual = o - c;
    float old = (float)*state * p.from_unit;
    float now = residual + alpha * (old - residual);
    float scaled = now * p.to_unit;
    scaled = scaled > -32768.0f ? scaled : -32768.0f;
    scaled = scaled < 32767.0f ? scaled : 32767.0f;
    *state = (short)((int)(scaled + 32768.5f) - 32768);
    set(out, X, Y, quantise(c + now, 1.0f, 0.0f, out.max));
}
