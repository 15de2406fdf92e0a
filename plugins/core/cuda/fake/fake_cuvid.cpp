// A stand-in for NVIDIA's video decoder library that can decode nothing. GStreamer's nvcodec plugin
// registers cudaupload, cudadownload and its converters only where this library is found.

#define NOTHING(name) extern "C" __attribute__((visibility("default"))) int name() { return 801; }
NOTHING(cuvidCreateDecoder)
NOTHING(cuvidCreateVideoParser)
NOTHING(cuvidCtxLock)
NOTHING(cuvidCtxLockCreate)
NOTHING(cuvidCtxLockDestroy)
NOTHING(cuvidCtxUnlock)
NOTHING(cuvidDecodePicture)
NOTHING(cuvidDestroyDecoder)
NOTHING(cuvidDestroyVideoParser)
NOTHING(cuvidGetDecoderCaps)
NOTHING(cuvidMapVideoFrame64)
NOTHING(cuvidParseVideoData)
NOTHING(cuvidUnmapVideoFrame64)
