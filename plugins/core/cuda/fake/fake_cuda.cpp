// A stand-in for the CUDA driver, for tests on machines without a GPU: what gst-neural and
// libgstcuda 1.22 call, done on the CPU at once. Memory lies between pages that cannot be touched, so
// that a kernel that reads or writes beyond it ends the test. Prototypes: the CUDA Driver API's.
//
// FAKE_CUDA_DEVICES: how many devices (1). FAKE_CUDA_MEMORY: bytes of each (1 GiB).
// FAKE_CUDA_INIT: what cuInit answers (0).

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <sys/mman.h>
#include <vector>

#include "on_cpu.h"

thread_local Dim3 blockIdx, threadIdx, blockDim, gridDim;

const Registered *&Registered::all() {
    static const Registered *first = nullptr;
    return first;
}

#define API extern "C" __attribute__((visibility("default"))) Result

typedef int Result;
enum {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100,
    INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_PTX = 218, INVALID_HANDLE = 400,
    NOT_FOUND = 500, NOT_READY = 600, NOT_SUPPORTED = 801
};

typedef uint64_t Address;

struct Context {
    int device;
    int users;
};

struct Event {
    bool recorded;
    std::chrono::steady_clock::time_point at;
};

struct Module {
    std::string ptx;
};

struct Copy2D {
    size_t srcX, srcY;
    int srcType;
    const void *srcHost;
    Address srcDevice;
    void *srcArray;
    size_t srcPitch;
    size_t dstX, dstY;
    int dstType;
    void *dstHost;
    Address dstDevice;
    void *dstArray;
    size_t dstPitch;
    size_t width, height;
};

struct Allocation {
    size_t bytes;    // asked for
    size_t padded;   // up to the page that cannot be touched
    void *map;
    size_t map_bytes;
};

static const unsigned char UNTOUCHED = 0xa5;
static std::mutex lock;
static bool started = false;
static std::map<Address, Allocation> memory;
static size_t used = 0;
static std::atomic<uint64_t> copied{0};
static Context primary[16];
static thread_local std::vector<Context *> current;

static long from_environment(const char *name, long otherwise) {
    const char *value = getenv(name);
    return value ? atol(value) : otherwise;
}

static int devices() { return (int)from_environment("FAKE_CUDA_DEVICES", 1); }
static size_t total() { return (size_t)from_environment("FAKE_CUDA_MEMORY", 1L << 30); }
static Result need_context() { return current.empty() || !current.back() ? INVALID_CONTEXT : SUCCESS; }

[[noreturn]] static void fail(const char *what, Address at) {
    fprintf(stderr, "fake CUDA: %s at %#llx\n", what, (unsigned long long)at);
    abort();
}

// Whether the bytes lie within one allocation.
static bool owned(Address at, size_t bytes) {
    std::lock_guard<std::mutex> guard(lock);
    auto after = memory.upper_bound(at);
    if (after == memory.begin()) return false;
    auto found = std::prev(after);
    return at + bytes <= found->first + found->second.bytes;
}

// Bytes that went between host and device, for tests.
extern "C" __attribute__((visibility("default"))) uint64_t fake_cuda_copied() { return copied; }

API cuInit(unsigned) {
    long answer = from_environment("FAKE_CUDA_INIT", 0);
    if (answer) return (Result)answer;
    if (devices() <= 0) return NO_DEVICE;
    started = true;
    return SUCCESS;
}

API cuDriverGetVersion(int *version) {
    *version = 12040;
    return SUCCESS;
}

static const char *name_of(int code) {
    switch (code) {
        case SUCCESS: return "CUDA_SUCCESS";
        case INVALID_VALUE: return "CUDA_ERROR_INVALID_VALUE";
        case OUT_OF_MEMORY: return "CUDA_ERROR_OUT_OF_MEMORY";
        case NO_DEVICE: return "CUDA_ERROR_NO_DEVICE";
        case INVALID_CONTEXT: return "CUDA_ERROR_INVALID_CONTEXT";
        case INVALID_PTX: return "CUDA_ERROR_INVALID_PTX";
        case NOT_FOUND: return "CUDA_ERROR_NOT_FOUND";
        default: return "CUDA_ERROR_UNKNOWN";
    }
}

API cuGetErrorName(int code, const char **name) {
    *name = name_of(code);
    return SUCCESS;
}

API cuGetErrorString(int code, const char **text) { return cuGetErrorName(code, text); }

API cuDeviceGetCount(int *count) {
    if (!started) return NOT_INITIALIZED;
    *count = devices();
    return SUCCESS;
}

API cuDeviceGet(int *device, int ordinal) {
    if (ordinal < 0 || ordinal >= devices()) return INVALID_DEVICE;
    *device = ordinal;
    return SUCCESS;
}

API cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, (size_t)length, "stand-in %d", device);
    return SUCCESS;
}

API cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
        case 75: *value = 7; break;    // compute capability, major
        case 76: *value = 5; break;    // minor
        case 14: *value = 512; break;  // texture alignment
        default: *value = 0;
    }
    return SUCCESS;
}

API cuDeviceCanAccessPeer(int *can, int, int) {
    *can = 0;
    return SUCCESS;
}

API cuDevicePrimaryCtxRetain(Context **context, int device) {
    std::lock_guard<std::mutex> guard(lock);
    if (device < 0 || device >= devices() || device >= 16) return INVALID_DEVICE;
    primary[device].device = device;
    primary[device].users++;
    *context = &primary[device];
    return SUCCESS;
}

API cuDevicePrimaryCtxRelease_v2(int device) {
    std::lock_guard<std::mutex> guard(lock);
    if (primary[device].users <= 0) fail("a primary context released too often", (Address)device);
    primary[device].users--;
    return SUCCESS;
}

API cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    *flags = 0;
    *active = primary[device].users > 0;
    return SUCCESS;
}

API cuCtxCreate_v2(Context **context, unsigned, int device) {
    *context = new Context{device, 1};
    current.push_back(*context);
    return SUCCESS;
}

API cuCtxDestroy_v2(Context *context) {
    delete context;
    return SUCCESS;
}

API cuCtxPushCurrent_v2(Context *context) {
    if (!context) return INVALID_CONTEXT;
    for (Context &p : primary)
        if (context == &p && p.users <= 0) fail("a primary context used after its release", (Address)p.device);
    current.push_back(context);
    return SUCCESS;
}

API cuCtxPopCurrent_v2(Context **context) {
    if (current.empty()) return INVALID_CONTEXT;
    if (context) *context = current.back();
    current.pop_back();
    return SUCCESS;
}

API cuCtxGetCurrent(Context **context) {
    *context = current.empty() ? nullptr : current.back();
    return SUCCESS;
}

API cuCtxSynchronize() { return need_context(); }
API cuCtxEnablePeerAccess(Context *, unsigned) { return NOT_SUPPORTED; }
API cuCtxDisablePeerAccess(Context *) { return NOT_SUPPORTED; }

API cuMemGetInfo_v2(size_t *free, size_t *all) {
    if (Result r = need_context()) return r;
    std::lock_guard<std::mutex> guard(lock);
    *all = total();
    *free = used < *all ? *all - used : 0;
    return SUCCESS;
}

API cuMemAlloc_v2(Address *address, size_t bytes) {
    if (Result r = need_context()) return r;
    if (!bytes) return INVALID_VALUE;
    std::lock_guard<std::mutex> guard(lock);
    if (bytes > total() || used + bytes > total()) return OUT_OF_MEMORY;
    const size_t page = 4096;
    size_t padded = (bytes + 255) / 256 * 256;  // as aligned as a device's
    size_t body = (padded + page - 1) / page * page;
    size_t map_bytes = body + 2 * page;
    char *map = (char *)mmap(nullptr, map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return OUT_OF_MEMORY;
    mprotect(map + page, body, PROT_READ | PROT_WRITE);
    char *at = map + page + body - padded;
    memset(at, UNTOUCHED, padded);
    *address = (Address)at;
    memory[*address] = Allocation{bytes, padded, map, map_bytes};
    used += bytes;
    return SUCCESS;
}

API cuMemAllocPitch_v2(Address *address, size_t *pitch, size_t width, size_t height, unsigned) {
    *pitch = (width + 511) / 512 * 512;
    return cuMemAlloc_v2(address, *pitch * height);
}

API cuMemFree_v2(Address address) {
    if (Result r = need_context()) return r;
    std::lock_guard<std::mutex> guard(lock);
    auto found = memory.find(address);
    if (found == memory.end()) fail("memory freed that is not allocated", address);
    const Allocation &a = found->second;
    for (size_t i = a.bytes; i < a.padded; i++)
        if (((unsigned char *)address)[i] != UNTOUCHED) fail("something was written beyond the end of memory", address);
    munmap(a.map, a.map_bytes);
    used -= a.bytes;
    memory.erase(found);
    return SUCCESS;
}

API cuMemAllocHost_v2(void **p, size_t bytes) {
    *p = malloc(bytes);
    return *p ? SUCCESS : OUT_OF_MEMORY;
}

API cuMemFreeHost(void *p) {
    free(p);
    return SUCCESS;
}

API cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *) {
    if (Result r = need_context()) return r;
    if (!owned(to, bytes)) return INVALID_VALUE;
    memcpy((void *)to, from, bytes);
    copied += bytes;
    return SUCCESS;
}

API cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *) {
    if (Result r = need_context()) return r;
    if (!owned(from, bytes)) return INVALID_VALUE;
    memcpy(to, (const void *)from, bytes);
    copied += bytes;
    return SUCCESS;
}

API cuMemcpy2D_v2(const Copy2D *c) {
    if (Result r = need_context()) return r;
    if ((c->srcType != 1 && c->srcType != 2) || (c->dstType != 1 && c->dstType != 2)) return NOT_SUPPORTED;
    if (c->height == 0 || c->width == 0) return SUCCESS;
    bool one_row = c->height == 1;
    if (!one_row && (c->srcPitch < c->width || c->dstPitch < c->width)) return INVALID_VALUE;
    const char *from = c->srcType == 1 ? (const char *)c->srcHost : (const char *)c->srcDevice;
    char *to = c->dstType == 1 ? (char *)c->dstHost : (char *)c->dstDevice;
    from += c->srcY * c->srcPitch + c->srcX;
    to += c->dstY * c->dstPitch + c->dstX;
    if (c->srcType == 2 && !owned((Address)from, (c->height - 1) * c->srcPitch + c->width)) return INVALID_VALUE;
    if (c->dstType == 2 && !owned((Address)to, (c->height - 1) * c->dstPitch + c->width)) return INVALID_VALUE;
    for (size_t y = 0; y < c->height; y++) memcpy(to + y * c->dstPitch, from + y * c->srcPitch, c->width);
    if (c->srcType != c->dstType) copied += c->width * c->height;
    return SUCCESS;
}

API cuMemcpy2DAsync_v2(const Copy2D *c, void *) { return cuMemcpy2D_v2(c); }

API cuMemsetD8Async(Address at, unsigned char value, size_t bytes, void *) {
    if (Result r = need_context()) return r;
    if (!owned(at, bytes)) return INVALID_VALUE;
    memset((void *)at, value, bytes);
    return SUCCESS;
}

API cuStreamCreate(void **stream, unsigned) {
    if (Result r = need_context()) return r;
    *stream = malloc(1);
    return SUCCESS;
}

API cuStreamDestroy_v2(void *stream) {
    free(stream);
    return SUCCESS;
}

API cuStreamDestroy(void *stream) { return cuStreamDestroy_v2(stream); }
API cuStreamSynchronize(void *) { return need_context(); }
API cuStreamWaitEvent(void *, Event *event, unsigned) { return event ? SUCCESS : INVALID_HANDLE; }

API cuEventCreate(Event **event, unsigned) {
    *event = new Event();
    return SUCCESS;
}

API cuEventDestroy_v2(Event *event) {
    delete event;
    return SUCCESS;
}

API cuEventRecord(Event *event, void *) {
    event->recorded = true;
    event->at = std::chrono::steady_clock::now();
    return SUCCESS;
}

API cuEventSynchronize(Event *) { return SUCCESS; }

API cuEventElapsedTime(float *ms, Event *from, Event *to) {
    if (!from->recorded || !to->recorded) return INVALID_HANDLE;
    *ms = std::chrono::duration<float, std::milli>(to->at - from->at).count();
    return SUCCESS;
}

API cuModuleLoadData(Module **module, const void *image) {
    if (Result r = need_context()) return r;
    if (strncmp((const char *)image, ".version", 8) != 0) return INVALID_PTX;
    *module = new Module{(const char *)image};
    return SUCCESS;
}

API cuModuleUnload(Module *module) {
    delete module;
    return SUCCESS;
}

// The kernel must be in the PTX, take one structure there, and one as large in the source that runs here.
API cuModuleGetFunction(const Registered **function, Module *module, const char *name) {
    std::string what(name);
    if (module->ptx.find(".entry " + what + "(") == std::string::npos) return NOT_FOUND;
    size_t at = module->ptx.find(what + "_param_0[");
    if (at == std::string::npos || module->ptx.find(what + "_param_1") != std::string::npos) return NOT_FOUND;
    size_t size = (size_t)atol(module->ptx.c_str() + at + what.size() + strlen("_param_0["));
    for (const Registered *k = Registered::all(); k; k = k->next) {
        if (what != k->name) continue;
        if (k->size != size) {
            fprintf(stderr, "fake CUDA: %s takes %zu bytes in PTX and %zu here\n", name, size, k->size);
            return INVALID_PTX;
        }
        *function = k;
        return SUCCESS;
    }
    return NOT_FOUND;
}

API cuLaunchKernel(const Registered *kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned, void *, void **params, void **) {
    if (Result r = need_context()) return r;
    if (!gx || !gy || !gz || gy > 65535 || gz > 65535 || bx * by * bz > 1024) return INVALID_VALUE;
    std::vector<char> copy((const char *)params[0], (const char *)params[0] + kernel->size);
    gridDim = {gx, gy, gz};
    blockDim = {bx, by, bz};
    for (unsigned z = 0; z < gz; z++)
        for (unsigned y = 0; y < gy; y++)
            for (unsigned x = 0; x < gx; x++) {
                blockIdx = {x, y, z};
                for (unsigned k = 0; k < bz; k++)
                    for (unsigned j = 0; j < by; j++)
                        for (unsigned i = 0; i < bx; i++) {
                            threadIdx = {i, j, k};
                            kernel->run(copy.data());
                        }
            }
    return SUCCESS;
}

// What libgstcuda looks up and nobody here calls.
#define UNSUPPORTED(name) \
    API name() { return NOT_SUPPORTED; }
UNSUPPORTED(cuGraphicsMapResources)
UNSUPPORTED(cuGraphicsUnmapResources)
UNSUPPORTED(cuGraphicsSubResourceGetMappedArray)
UNSUPPORTED(cuGraphicsResourceGetMappedPointer_v2)
UNSUPPORTED(cuGraphicsUnregisterResource)
UNSUPPORTED(cuGraphicsGLRegisterImage)
UNSUPPORTED(cuGraphicsGLRegisterBuffer)
UNSUPPORTED(cuGraphicsResourceSetMapFlags_v2)
UNSUPPORTED(cuGLGetDevices_v2)
UNSUPPORTED(cuTexObjectCreate)
UNSUPPORTED(cuTexObjectDestroy)
