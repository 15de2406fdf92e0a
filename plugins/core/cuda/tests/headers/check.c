/* Fails to compile where src/gstcuda.rs differs from the headers of the installed libgstcuda.
 * In Rust, GObjects and the driver's handles are `*mut c_void`; here they have their own types. */
#define GST_USE_UNSTABLE_API
#include <gst/gst.h>
#include <gst/video/video.h>
#include <gst/cuda/gstcudabufferpool.h>
#include <gst/cuda/gstcudacontext.h>
#include <gst/cuda/gstcudaloader.h>
#include <gst/cuda/gstcudamemory.h>
#include <gst/cuda/gstcudautils.h>

#define SAME(function, type) \
    _Static_assert(__builtin_types_compatible_p(__typeof__(&function), type), #function)

SAME(gst_cuda_load_library, gboolean (*)(void));
SAME(gst_cuda_memory_init_once, void (*)(void));
SAME(gst_cuda_context_new_wrapped, GstCudaContext *(*)(CUcontext, CUdevice));
SAME(gst_cuda_context_get_handle, gpointer (*)(GstCudaContext *));
SAME(gst_cuda_context_get_type, GType (*)(void));
SAME(gst_cuda_ensure_element_context, gboolean (*)(GstElement *, gint, GstCudaContext **));
SAME(gst_cuda_handle_set_context, gboolean (*)(GstElement *, GstContext *, gint, GstCudaContext **));
SAME(gst_cuda_handle_context_query, gboolean (*)(GstElement *, GstQuery *, GstCudaContext *));
SAME(gst_context_new_cuda_context, GstContext *(*)(GstCudaContext *));
SAME(gst_is_cuda_memory, gboolean (*)(GstMemory *));
SAME(gst_cuda_buffer_pool_new, GstBufferPool *(*)(GstCudaContext *));
SAME(gst_object_ref, gpointer (*)(gpointer));
SAME(gst_object_unref, void (*)(gpointer));
SAME(g_object_set_data_full, void (*)(GObject *, const gchar *, gpointer, GDestroyNotify));

_Static_assert(sizeof(gboolean) == 4 && sizeof(gint) == 4 && sizeof(CUdevice) == 4, "c_int");
_Static_assert(sizeof(GType) == sizeof(size_t), "usize");
_Static_assert(offsetof(GstCudaMemory, context) == MEMORY_CONTEXT, "GstCudaMemory.context");
_Static_assert(GST_MAP_CUDA == MAP_CUDA, "GST_MAP_CUDA");

/* Strings cannot be compared when compiling: the test does it with what this file becomes. */
const char *const cuda_memory = "caps feature: " GST_CAPS_FEATURE_MEMORY_CUDA_MEMORY;
const char *const cuda_context_type = "context type: " GST_CUDA_CONTEXT_TYPE;
