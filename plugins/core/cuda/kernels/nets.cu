// The codec's networks: integers only, docs/bitstream.md "Integers" and "Synthesis".
// On the CPU: plugins/core/codec/src/nets. Activations are i16[positions][channels].
#include "common.cuh"

#define LIMIT 2047
#define AT_ONCE 4
#define PIXELS 96

__device__ __forceinline__ int clip(int v, int low) { return v < low ? low : v > LIMIT ? LIMIT : v; }

struct Dense {
    u64 x[2];       // i16[positions][inputs]: one or two parts
    u64 weights;    // i16[inputs of both][outputs]
    u64 bias;       // i32[outputs]
    u64 out;        // i16[positions][outputs]
    u64 add;        // as out, added and clipped; 0: none
    u32 inputs[2];
    u32 outputs;
    u32 positions;
    u32 columns;    // positions a row, for the shuffle
    u32 shuffle;    // 1: four groups of outputs become 2x2 positions
    u32 shift;
    int low;
};

// Output x of AT_ONCE positions: a weight is read once for all of them.
KERNEL(dense, Dense) {
    u32 o = X, first = Y * AT_ONCE;
    if (o >= p.outputs || first >= p.positions) return;
    u32 n = least(AT_ONCE, p.positions - first);
    int sum[AT_ONCE];
    for (u32 k = 0; k < AT_ONCE; k++) sum[k] = ((const int *)p.bias)[o];
    const short *w = (const short *)p.weights + o;
    for (u32 part = 0; part < 2; part++) {
        u32 inputs = p.inputs[part];
        const short *x[AT_ONCE];
        // Those beyond the last position compute it again, for nobody.
        for (u32 k = 0; k < AT_ONCE; k++)
            x[k] = (const short *)p.x[part] + (u64)(first + least(k, n - 1)) * inputs;
        for (u32 i = 0; i < inputs; i++, w += p.outputs)
            for (u32 k = 0; k < AT_ONCE; k++) sum[k] += (int)*w * x[k][i];
    }
    for (u32 k = 0; k < n; k++) {
        u64 at = (u64)(first + k) * p.outputs + o;
        if (p.shuffle) {
            u32 c = p.outputs / 4, group = o / c, row = (first + k) / p.columns, col = (first + k) % p.columns;
            at = ((u64)(2 * row + group / 2) * 2 * p.columns + 2 * col + group % 2) * c + o % c;
        }
        int v = clip(sum[k] >> p.shift, p.low);
        if (p.add) v = clip(((const short *)p.add)[at] + v, -LIMIT);
        ((short *)p.out)[at] = (short)v;
    }
}

struct Depthwise {
    u64 x;        // i16[rows][columns][channels]
    u64 weights;  // i16[9][channels]
    u64 bias;     // i32[channels]
    u64 out;
    u32 channels;
    u32 columns;
    u32 rows;
    u32 slice;    // rows of a slice, which knows nothing of its neighbours
    u32 shift;
    u32 unused;
};

KERNEL(depthwise, Depthwise) {
    u32 c = X;
    if (c >= p.channels || Y >= p.rows * p.columns) return;
    int row = (int)(Y / p.columns), col = (int)(Y % p.columns);
    int top = row - row % (int)p.slice, end = (int)least((u32)top + p.slice, p.rows);
    int sum = ((const int *)p.bias)[c];
    for (int j = 0; j < 3; j++)
        for (int i = 0; i < 3; i++) {
            int y = row + j - 1, x = col + i - 1;
            if (y < top || y >= end || x < 0 || x >= (int)p.columns) continue;
            int w = ((const short *)p.weights)[(u64)(3 * j + i) * p.channels + c];
            sum += w * ((const short *)p.x)[((u64)y * p.columns + x) * p.channels + c];
        }
    ((short *)p.out)[(u64)Y * p.channels + c] = (short)clip(sum >> p.shift, -LIMIT);
}

struct Ends {
    Comp planes[3];   // Y, U, V of 8 bits, 4:2:0
    u64 latents;      // i16[count][channels]: quantised, then not
    u64 steps;        // i32[channels]
    u64 x;            // i16[count][PIXELS], or [count][channels]
    u64 direct;       // i16[count][PIXELS]
    u64 prediction;   // i16[count][PIXELS]; 0: none
    u32 channels;
    u32 count;        // positions
    u32 columns;      // positions a row
    u32 unused;
};

// Quantised latents to x.
KERNEL(dequantise, Ends) {
    if (X >= p.channels || Y >= p.count) return;
    u64 at = (u64)Y * p.channels + X;
    int v = ((const short *)p.latents)[at] * ((const int *)p.steps)[X];
    ((short *)p.x)[at] = (short)clip((v + 8) >> 4, -LIMIT);
}

// The plane of a channel, and the sample of a position.
__device__ __forceinline__ const Comp &place_of(const Ends &p, u32 channel, u32 position, u32 &x, u32 &y) {
    u32 side = channel < 64 ? 8 : 4;
    u32 at = channel < 64 ? channel : (channel - 64) % 16;
    x = position % p.columns * side + at % side;
    y = position / p.columns * side + at / side;
    return p.planes[channel < 64 ? 0 : channel < 80 ? 1 : 2];
}

// Samples to x; the last row and column are repeated.
KERNEL(positions_of_samples, Ends) {
    if (X >= PIXELS || Y >= p.count) return;
    u32 x, y;
    const Comp &c = place_of(p, X, Y, x, y);
    int v = (int)get(c, least(x, c.width - 1), least(y, c.height - 1));
    ((short *)p.x)[(u64)Y * PIXELS + X] = (short)(8 * v - 1024);
}

// x, direct and prediction to samples; what lies beyond the picture is left out.
KERNEL(samples_of_positions, Ends) {
    if (X >= PIXELS || Y >= p.count) return;
    u32 x, y;
    const Comp &c = place_of(p, X, Y, x, y);
    if (x >= c.width || y >= c.height) return;
    u64 at = (u64)Y * PIXELS + X;
    int v = ((const short *)p.x)[at] + ((const short *)p.direct)[at];
    if (p.prediction) v += ((const short *)p.prediction)[at];
    v = (v + 1024 + 4) >> 3;
    set(c, x, y, v < 0 ? 0 : v > 255 ? 255 : v);
}
