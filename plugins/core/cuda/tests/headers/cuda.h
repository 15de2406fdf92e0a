/* The CUDA driver's types as libgstcuda's headers use them, for checking those headers only: Debian
 * ships them without this file. */
#pragma once
#include <stddef.h>
#define CUDAAPI
typedef int CUresult;
#define CUDA_SUCCESS 0
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUarray_st *CUarray;
typedef struct CUgraphicsResource_st *CUgraphicsResource;
typedef unsigned long long CUtexObject;
typedef int CUdevice_attribute;
typedef unsigned int CUgraphicsRegisterFlags;
typedef unsigned int CUgraphicsMapResourceFlags;
typedef unsigned int CUGLDeviceList;
typedef struct CUDA_MEMCPY2D_st CUDA_MEMCPY2D;
typedef struct CUDA_RESOURCE_DESC_st CUDA_RESOURCE_DESC;
typedef struct CUDA_TEXTURE_DESC_st CUDA_TEXTURE_DESC;
typedef struct CUDA_RESOURCE_VIEW_DESC_st CUDA_RESOURCE_VIEW_DESC;
