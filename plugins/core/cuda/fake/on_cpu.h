// What kernels need to be compiled as C++ and run on the CPU, one thread of the grid after the other.
#pragma once

#include <cstddef>
#include <cstring>

struct Dim3 {
    unsigned x, y, z;
};

extern thread_local Dim3 blockIdx, threadIdx, blockDim, gridDim;

// Makes a kernel known by its name, with the size of what it takes.
struct Registered {
    const char *name;
    void (*run)(const void *);
    size_t size;
    const Registered *next;
    static const Registered *&all();
    Registered(const char *n, void (*r)(const void *), size_t s) : name(n), run(r), size(s), next(all()) {
        all() = this;
    }
};

#define KERNEL(name, Params)                                                     \
    static void name##_body(const Params &p);                                    \
    static void name##_run(const void *p) { name##_body(*(const Params *)p); }   \
    static const Registered name##_known(#name, name##_run, sizeof(Params));     \
    static void name##_body(const Params &p)

#define __device__
#define __forceinline__ inline __attribute__((always_inline))

inline float from_half(unsigned short h) {
    _Float16 v;
    memcpy(&v, &h, sizeof v);
    return (float)v;
}

inline unsigned short to_half(float f) {
    _Float16 v = (_Float16)f;
    unsigned short h;
    memcpy(&h, &v, sizeof h);
    return h;
}

inline unsigned __clz(unsigned v) { return v ? (unsigned)__builtin_clz(v) : 32; }

inline unsigned __float_as_uint(float f) {
    unsigned bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

template <class T>
inline void atomicAdd(T *at, T value) {
    *at += value;
}

template <class T>
inline void atomicMax(T *at, T value) {
    if (value > *at) *at = value;
}
