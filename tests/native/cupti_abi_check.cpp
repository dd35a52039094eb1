// Compares the declarations of tracers/cupti_api.h with the vendor's headers. Built only where
// CMake finds those (or is told, by PICOJOULE_CUPTI_INCLUDE); there is nothing to run.
#include <cuda.h>
#include <cupti_activity.h>
#include <cupti_callbacks.h>
#include <cupti_driver_cbid.h>
#include <cupti_runtime_cbid.h>
#include <cupti_version.h>

#include <cstddef>
#include <iterator>

#include "tracers/cupti_api.h"

using namespace picojoule::cupti;

#define SAME(ours, our_field, theirs, their_field)                              \
    static_assert(offsetof(ours, our_field) == offsetof(theirs, their_field) && \
                      sizeof(ours::our_field) == sizeof(theirs::their_field),   \
                  #theirs "." #their_field)

// The first of three that follow each other.
#define FIRST_OF_THREE(ours, our_field, theirs, their_field)                      \
    static_assert(offsetof(ours, our_field) == offsetof(theirs, their_field) &&   \
                      sizeof(ours::our_field) == 3 * sizeof(theirs::their_field), \
                  #theirs "." #their_field)

template <class Theirs>
constexpr bool kernel_like() {
    SAME(KernelPrefix, kind, Theirs, kind);
    SAME(KernelPrefix, registers_per_thread, Theirs, registersPerThread);
    SAME(KernelPrefix, start, Theirs, start);
    SAME(KernelPrefix, end, Theirs, end);
    SAME(KernelPrefix, completed, Theirs, completed);
    SAME(KernelPrefix, device, Theirs, deviceId);
    SAME(KernelPrefix, context, Theirs, contextId);
    SAME(KernelPrefix, stream, Theirs, streamId);
    FIRST_OF_THREE(KernelPrefix, grid, Theirs, gridX);
    FIRST_OF_THREE(KernelPrefix, block, Theirs, blockX);
    SAME(KernelPrefix, static_shared, Theirs, staticSharedMemory);
    SAME(KernelPrefix, dynamic_shared, Theirs, dynamicSharedMemory);
    SAME(KernelPrefix, local_per_thread, Theirs, localMemoryPerThread);
    SAME(KernelPrefix, correlation, Theirs, correlationId);
    SAME(KernelPrefix, grid_id, Theirs, gridId);
    SAME(KernelPrefix, name, Theirs, name);
    SAME(KernelPrefix, queued, Theirs, queued);
    SAME(KernelPrefix, submitted, Theirs, submitted);
    SAME(KernelPrefix, launch_type, Theirs, launchType);
    SAME(KernelPrefix, shared_executed, Theirs, sharedMemoryExecuted);
    SAME(KernelPrefix, graph_node, Theirs, graphNodeId);
    SAME(KernelPrefix, graph, Theirs, graphId);
    return sizeof(Theirs) >= sizeof(KernelPrefix);
}

template <class Ours, class Theirs>
constexpr bool copy_like() {
    SAME(Ours, kind, Theirs, kind);
    SAME(Ours, bytes, Theirs, bytes);
    SAME(Ours, start, Theirs, start);
    SAME(Ours, end, Theirs, end);
    SAME(Ours, device, Theirs, deviceId);
    SAME(Ours, context, Theirs, contextId);
    SAME(Ours, stream, Theirs, streamId);
    SAME(Ours, correlation, Theirs, correlationId);
    SAME(Ours, graph_node, Theirs, graphNodeId);
    SAME(Ours, graph, Theirs, graphId);
    SAME(Ours, channel, Theirs, channelID);
    return sizeof(Theirs) >= sizeof(Ours);
}

static_assert(kernel_like<CUpti_ActivityKernel9>());
static_assert(copy_like<MemcpyPrefix, CUpti_ActivityMemcpy5>());
static_assert(copy_like<MemsetPrefix, CUpti_ActivityMemset4>());
SAME(MemcpyPrefix, copy_kind, CUpti_ActivityMemcpy5, copyKind);
#if CUPTI_API_VERSION >= 26
static_assert(copy_like<MemcpyPrefix, CUpti_ActivityMemcpy6>());
#endif
#if CUPTI_API_VERSION >= 130000
static_assert(kernel_like<CUpti_ActivityKernel10>());
#endif
#if CUPTI_API_VERSION >= 130100
static_assert(kernel_like<CUpti_ActivityKernel11>());
#endif
#if CUPTI_API_VERSION >= 130300
static_assert(kernel_like<CUpti_ActivityKernel12>());
#endif
#if CUPTI_API_VERSION >= 130400
static_assert(kernel_like<CUpti_ActivityKernel13>());
static_assert(copy_like<MemcpyPrefix, CUpti_ActivityMemcpy7>());
static_assert(copy_like<MemsetPrefix, CUpti_ActivityMemset5>());
#endif

SAME(ApiCall, site, CUpti_CallbackData, callbackSite);
SAME(ApiCall, symbol, CUpti_CallbackData, symbolName);
SAME(ApiCall, context_uid, CUpti_CallbackData, contextUid);
SAME(ApiCall, correlation, CUpti_CallbackData, correlationId);
SAME(ResourceChange, descriptor, CUpti_ResourceData, resourceDescriptor);
SAME(GraphChange, graph, CUpti_GraphData, graph);
SAME(GraphChange, original_graph, CUpti_GraphData, originalGraph);
SAME(GraphChange, node, CUpti_GraphData, node);
SAME(GraphChange, original_node, CUpti_GraphData, originalNode);
SAME(GraphChange, exec, CUpti_GraphData, graphExec);

#if CUPTI_API_VERSION >= 130000
SAME(SubscribeParams, size, CUpti_SubscriberParams, structSize);
SAME(SubscribeParams, name, CUpti_SubscriberParams, subscriberName);
SAME(SubscribeParams, holder, CUpti_SubscriberParams, oldSubscriberName);
SAME(SubscribeParams, holder_bytes, CUpti_SubscriberParams, oldSubscriberSize);
#if CUPTI_API_VERSION >= 130300
SAME(SubscribeParams, allow_several, CUpti_SubscriberParams, allowMultipleSubscribers);
static_assert(CUpti_SubscriberParams_STRUCT_SIZE == kSubscribeParams13_3);
#else
static_assert(CUpti_SubscriberParams_STRUCT_SIZE == kSubscribeParams13_0);
#endif
#endif

#define EQUAL(ours, theirs) \
    static_assert(static_cast<unsigned>(ours) == static_cast<unsigned>(theirs), #theirs)

EQUAL(kInvalidParameter, CUPTI_ERROR_INVALID_PARAMETER);
EQUAL(kMaxLimitReached, CUPTI_ERROR_MAX_LIMIT_REACHED);
EQUAL(kNotCompatible, CUPTI_ERROR_NOT_COMPATIBLE);
EQUAL(kNotInitialized, CUPTI_ERROR_NOT_INITIALIZED);
EQUAL(kInvalidKind, CUPTI_ERROR_INVALID_KIND);
EQUAL(kInsufficientPrivileges, CUPTI_ERROR_INSUFFICIENT_PRIVILEGES);
EQUAL(kMultipleSubscribers, CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED);
EQUAL(kVirtualizedInsufficientPrivileges, CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES);
EQUAL(kMemcpy, CUPTI_ACTIVITY_KIND_MEMCPY);
EQUAL(kMemset, CUPTI_ACTIVITY_KIND_MEMSET);
EQUAL(kConcurrentKernel, CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
EQUAL(kOverhead, CUPTI_ACTIVITY_KIND_OVERHEAD);
EQUAL(kBufferFlush, CUPTI_ACTIVITY_OVERHEAD_CUPTI_BUFFER_FLUSH);
EQUAL(kInstrumentation, CUPTI_ACTIVITY_OVERHEAD_CUPTI_INSTRUMENTATION);
EQUAL(kResourceSetup, CUPTI_ACTIVITY_OVERHEAD_CUPTI_RESOURCE);
SAME(OverheadPrefix, what, CUpti_ActivityOverhead, overheadKind);
SAME(OverheadPrefix, start, CUpti_ActivityOverhead, start);
SAME(OverheadPrefix, end, CUpti_ActivityOverhead, end);
#if CUPTI_API_VERSION >= 130000
EQUAL(kBufferRequest, CUPTI_ACTIVITY_OVERHEAD_ACTIVITY_BUFFER_REQUEST);
SAME(OverheadPrefix, what, CUpti_ActivityOverhead3, overheadKind);
SAME(OverheadPrefix, start, CUpti_ActivityOverhead3, start);
SAME(OverheadPrefix, end, CUpti_ActivityOverhead3, end);
#endif
EQUAL(kZeroedBuffers, CUPTI_ACTIVITY_ATTR_ZEROED_OUT_ACTIVITY_BUFFER);
EQUAL(kDriverApi, CUPTI_CB_DOMAIN_DRIVER_API);
EQUAL(kRuntimeApi, CUPTI_CB_DOMAIN_RUNTIME_API);
EQUAL(kResource, CUPTI_CB_DOMAIN_RESOURCE);
EQUAL(kGraphNodeCreated, CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED);
EQUAL(kGraphNodeCloned, CUPTI_CBID_RESOURCE_GRAPHNODE_CLONED);
EQUAL(kEnter, CUPTI_API_ENTER);
EQUAL(kExit, CUPTI_API_EXIT);

constexpr bool in(const CallRange* begin, const CallRange* end, unsigned id) {
    for (; begin != end; ++begin) {
        if (id >= begin->first && id <= begin->last) return true;
    }
    return false;
}
#define DRIVER(ranges, call) \
    static_assert(in(std::begin(ranges), std::end(ranges), CUPTI_DRIVER_TRACE_CBID_##call), #call)
#define RUNTIME(call)                                                                              \
    static_assert(                                                                                 \
        in(std::begin(kRuntimeCopies), std::end(kRuntimeCopies), CUPTI_RUNTIME_TRACE_CBID_##call), \
        #call)

EQUAL(kCuLaunchKernel, CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel);
DRIVER(kDriverLaunches, cuLaunchKernel);
DRIVER(kDriverLaunches, cuLaunchKernel_ptsz);
DRIVER(kDriverLaunches, cuLaunchKernelEx);
DRIVER(kDriverLaunches, cuLaunchKernelEx_ptsz);
DRIVER(kDriverLaunches, cuLaunchCooperativeKernel);
DRIVER(kDriverLaunches, cuLaunchCooperativeKernel_ptsz);
DRIVER(kDriverLaunches, cuLaunchCooperativeKernelMultiDevice);
DRIVER(kDriverLaunches, cuGraphLaunch);
DRIVER(kDriverLaunches, cuGraphLaunch_ptsz);
DRIVER(kDriverCopies, cuMemcpyHtoD_v2);
DRIVER(kDriverCopies, cuMemcpyDtoHAsync_v2);
DRIVER(kDriverCopies, cuMemcpyHtoAAsync_v2);
DRIVER(kDriverCopies, cuMemcpy);
DRIVER(kDriverCopies, cuMemcpyAsync);
DRIVER(kDriverCopies, cuMemcpyPeerAsync);
DRIVER(kDriverCopies, cuMemcpy3DPeerAsync);
DRIVER(kDriverCopies, cuMemcpyHtoD_v2_ptds);
DRIVER(kDriverCopies, cuMemcpy3DPeer_ptds);
DRIVER(kDriverCopies, cuMemcpyAsync_ptsz);
DRIVER(kDriverCopies, cuMemcpy3DPeerAsync_ptsz);
DRIVER(kDriverCopies, cuMemsetD8_v2);
DRIVER(kDriverCopies, cuMemsetD2D32_v2);
DRIVER(kDriverCopies, cuMemsetD8Async);
DRIVER(kDriverCopies, cuMemsetD2D32Async);
DRIVER(kDriverCopies, cuMemsetD8_v2_ptds);
DRIVER(kDriverCopies, cuMemsetD2D32Async_ptsz);
RUNTIME(cudaMemcpy_v3020);
RUNTIME(cudaMemset2DAsync_v3020);
RUNTIME(cudaMemset3D_v3020);
RUNTIME(cudaMemcpy3DAsync_v3020);
RUNTIME(cudaMemcpyPeer_v4000);
RUNTIME(cudaMemcpy3DPeerAsync_v4000);
RUNTIME(cudaMemcpy_ptds_v7000);
RUNTIME(cudaMemset2DAsync_ptsz_v7000);
RUNTIME(cudaMemset3D_ptds_v7000);
RUNTIME(cudaMemcpy3DPeerAsync_ptsz_v7000);
