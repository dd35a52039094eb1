// The part of CUPTI that is used here, declared anew: no vendor header is needed to build.
//
// Of activity records only the beginnings are declared, in which CUPTI 11.8 to 13.5 do not differ
// (tests/native/cupti_abi_check.cpp compares them with the vendor's headers where those are
// installed). A whole record is longer, and how long depends on the library: only the library may
// step from one to the next.
#pragma once

#include <cstddef>
#include <cstdint>

namespace picojoule::cupti {

enum Return : int {
    kSuccess = 0,
    kInvalidParameter = 1,
    kMaxLimitReached = 12,
    kNotCompatible = 14,
    kNotInitialized = 15,
    kInvalidKind = 21,
    kInsufficientPrivileges = 35,
    kMultipleSubscribers = 39,
    kVirtualizedInsufficientPrivileges = 40,
    kUnknown = 999,
};

enum CuptiKind : std::uint32_t {
    kMemcpy = 1,
    kMemset = 2,
    // 3, KERNEL, would run kernels one after the other.
    kConcurrentKernel = 10,
    kOverhead = 17,
};

// Which overhead is the library's own, done for whoever traces; others are the driver's (modules
// that are loaded, kernels that are compiled), which would be there without a tracer.
enum OverheadKind : std::uint32_t {
    kBufferFlush = 1U << 16U,
    kInstrumentation = 2U << 16U,
    kResourceSetup = 3U << 16U,
    kBufferRequest = 7U << 16U,
};

enum Attribute : int {
    kZeroedBuffers = 5,
};

enum Domain : int {
    kDriverApi = 1,
    kRuntimeApi = 2,
    kResource = 3,
};

enum ResourceEvent : std::uint32_t {
    kGraphNodeCreated = 13,
    kGraphNodeCloned = 20,
};

enum CallbackSite : int { kEnter = 0, kExit = 1 };

// Versions as cuptiGetVersion tells them: a serial number until 12.9, then xxyyzz.
constexpr std::uint32_t kVersion11_8 = 18;
constexpr std::uint32_t kVersionMayRefuseBuffer = 27;  // 12.9: before that, no buffer is a crash
constexpr std::uint32_t kVersion13_0 = 130'000;        // cuptiSubscribe_v2
constexpr std::uint32_t kVersion13_2 = 130'200;        // calls that take a subscriber
constexpr std::uint32_t kVersion13_3 = 130'300;        // several subscribers
constexpr unsigned kDriverOfSeveral = 610;             // and the driver branch that allows them

// ---- activity records -----------------------------------------------------------------------

struct KernelPrefix {
    std::uint32_t kind;
    std::uint8_t cache_config;
    std::uint8_t shared_config;
    std::uint16_t registers_per_thread;
    std::uint64_t partitioned_cache;  // of two 4-byte enums
    std::uint64_t start;
    std::uint64_t end;
    std::uint64_t completed;
    std::uint32_t device;
    std::uint32_t context;
    std::uint32_t stream;
    std::uint32_t grid[3];
    std::uint32_t block[3];
    std::uint32_t static_shared;
    std::uint32_t dynamic_shared;
    std::uint32_t local_per_thread;
    std::uint32_t local_total;
    std::uint32_t correlation;
    std::int64_t grid_id;
    const char* name;  // the library's, and stays valid
    void* reserved;
    std::uint64_t queued;
    std::uint64_t submitted;
    std::uint8_t launch_type;
    std::uint8_t carveout[3];
    std::uint32_t shared_executed;
    std::uint64_t graph_node;
    std::uint32_t shared_limit_config;
    std::uint32_t graph;
};

struct MemcpyPrefix {
    std::uint32_t kind;
    std::uint8_t copy_kind;
    std::uint8_t source_kind;
    std::uint8_t target_kind;
    std::uint8_t flags;
    std::uint64_t bytes;
    std::uint64_t start;
    std::uint64_t end;
    std::uint32_t device;
    std::uint32_t context;
    std::uint32_t stream;
    std::uint32_t correlation;
    std::uint32_t runtime_correlation;
    std::uint32_t pad;
    void* reserved;
    std::uint64_t graph_node;
    std::uint32_t graph;
    std::uint32_t channel;
};

struct MemsetPrefix {
    std::uint32_t kind;
    std::uint32_t value;
    std::uint64_t bytes;
    std::uint64_t start;
    std::uint64_t end;
    std::uint32_t device;
    std::uint32_t context;
    std::uint32_t stream;
    std::uint32_t correlation;
    std::uint16_t flags;
    std::uint16_t memory_kind;
    std::uint32_t pad;
    void* reserved;
    std::uint64_t graph_node;
    std::uint32_t graph;
    std::uint32_t channel;
};

struct OverheadPrefix {
    std::uint32_t kind;
    std::uint32_t what;  // an OverheadKind
    std::uint32_t object_kind;
    std::uint32_t object[3];
    std::uint64_t start;
    std::uint64_t end;
};

static_assert(offsetof(OverheadPrefix, start) == 24 && sizeof(OverheadPrefix) == 40);
static_assert(offsetof(KernelPrefix, start) == 16 && offsetof(KernelPrefix, device) == 40);
static_assert(offsetof(KernelPrefix, grid) == 52 && offsetof(KernelPrefix, correlation) == 92);
static_assert(offsetof(KernelPrefix, name) == 104 && offsetof(KernelPrefix, graph_node) == 144);
static_assert(sizeof(KernelPrefix) == 160);
static_assert(offsetof(MemcpyPrefix, start) == 16 && offsetof(MemcpyPrefix, correlation) == 44);
static_assert(offsetof(MemcpyPrefix, graph_node) == 64 && sizeof(MemcpyPrefix) == 80);
static_assert(offsetof(MemsetPrefix, start) == 16 && offsetof(MemsetPrefix, correlation) == 44);
static_assert(offsetof(MemsetPrefix, graph_node) == 64 && sizeof(MemsetPrefix) == 80);

// ---- callbacks ------------------------------------------------------------------------------

struct ApiCall {  // CUpti_CallbackData
    int site;
    const char* function;
    const void* parameters;
    void* result;
    const char* symbol;
    void* context;
    std::uint32_t context_uid;
    std::uint64_t* shared_between_sites;
    std::uint32_t correlation;
};
static_assert(offsetof(ApiCall, correlation) == 64);

struct ResourceChange {  // CUpti_ResourceData
    void* context;
    void* stream;
    const void* descriptor;  // of graphs: a GraphChange
};

struct GraphChange {  // CUpti_GraphData
    void* graph;
    void* original_graph;
    void* node;
    void* original_node;
    int node_type;
    void* dependency;
    void* exec;
};

using Subscriber = struct SubscriberOpaque*;
using Callback = void (*)(void* user, int domain, std::uint32_t id, const void* data);

struct SubscribeParams {
    std::size_t size;  // how much of this the library may read: never more than it knows
    const char* name;
    char* holder;
    std::size_t holder_bytes;
    std::uint8_t allow_several;  // from 13.3 on
    std::uint8_t padding[7];
};
constexpr std::size_t kSubscribeParams13_0 = 32;
constexpr std::size_t kSubscribeParams13_3 = 40;
static_assert(sizeof(SubscribeParams) == kSubscribeParams13_3);

using RequestBuffer = void (*)(std::uint8_t** buffer, std::size_t* size, std::size_t* most_records);
using BufferDone = void (*)(void* context, std::uint32_t stream, std::uint8_t* buffer,
                            std::size_t size, std::size_t valid);
using RequestBufferV2 = void (*)(std::uint8_t** buffer, std::size_t* size,
                                 std::size_t* most_records, void* info);
using BufferDoneV2 = void (*)(std::uint8_t* buffer, std::size_t size, std::size_t valid,
                              void* info);

// ---- which calls launch something -----------------------------------------------------------

struct CallRange {
    std::uint32_t first, last;
};

// Kernels and graphs are watched where the driver launches them: the runtime's launches pass
// there too, and libraries such as cuBLAS call nothing else.
constexpr CallRange kDriverLaunches[] = {
    {307, 307},  // cuLaunchKernel
    {442, 442},  // cuLaunchKernel_ptsz
    {477, 478},  // cuLaunchCooperativeKernel, _ptsz
    {480, 480},  // cuLaunchCooperativeKernelMultiDevice
    {514, 515},  // cuGraphLaunch, _ptsz
    {652, 653},  // cuLaunchKernelEx, _ptsz
};
constexpr std::uint32_t kCuLaunchKernel = 307;

// Copies and sets are watched at both levels: the runtime makes some of its own without a public
// call of the driver.
constexpr CallRange kDriverCopies[] = {
    {276, 293},  // cuMemcpyHtoD_v2 ... cuMemcpyHtoAAsync_v2
    {305, 306},  // cuMemcpy, cuMemcpyAsync
    {318, 321},  // cuMemcpyPeer ... cuMemcpy3DPeerAsync
    {397, 410},  // ..._ptds
    {418, 427},  // ..._ptsz
    {776, 779},  // cuMemcpyBatchAsync ... cuMemcpy3DBatchAsync_ptsz
    {796, 799},  // ..._v2
    {216, 216}, {218, 218}, {220, 220}, {222, 222}, {224, 224}, {226, 226},  // cuMemset...Async
    {249, 254},  // cuMemsetD8_v2 ... cuMemsetD2D32_v2
    {411, 416},  // ..._ptds
    {428, 433},  // cuMemset...Async_ptsz
};
constexpr CallRange kRuntimeCopies[] = {
    {31, 52},                            // cudaMemcpy ... cudaMemset2DAsync
    {142, 145},                          // cudaMemset3D ... cudaMemcpy3DAsync
    {160, 163},                          // cudaMemcpyPeer ... cudaMemcpy3DPeerAsync
    {215, 236},                          // ..._ptds, ..._ptsz
    {243, 246}, {249, 250}, {482, 485},  // cudaMemcpyBatchAsync ...
    {509, 512},
};

// ---- functions ------------------------------------------------------------------------------

// A function may be null: older libraries have fewer.
struct Api {
    int (*get_version)(std::uint32_t*);
    int (*result_string)(int, const char**);
    int (*get_timestamp)(std::uint64_t*);
    int (*graph_node_id)(void*, std::uint64_t*);
    int (*subscribe)(Subscriber*, Callback, void*);
    int (*subscribe_v2)(Subscriber*, Callback, void*, SubscribeParams*);
    int (*unsubscribe)(Subscriber);
    int (*enable_callback)(std::uint32_t, Subscriber, int, std::uint32_t);
    int (*flush_all)(std::uint32_t);

    int (*set_attribute)(int, std::size_t*, void*);
    int (*register_callbacks)(RequestBuffer, BufferDone);
    int (*enable)(std::uint32_t);
    int (*disable)(std::uint32_t);
    int (*next_record)(std::uint8_t*, std::size_t, void**);
    int (*dropped)(void*, std::uint32_t, std::size_t*);

    // The same again for a subscriber of its own. The two families do not mix: what subscribed
    // with the second must stay with it where it exists (13.2).
    int (*set_attribute_v2)(Subscriber, int, std::size_t*, void*);
    int (*register_callbacks_v2)(Subscriber, RequestBufferV2, BufferDoneV2);
    int (*enable_v2)(Subscriber, std::uint32_t, void*);
    int (*disable_v2)(Subscriber, std::uint32_t, void*);
    int (*next_record_v2)(Subscriber, std::uint8_t*, std::size_t, void**);
    int (*dropped_v2)(Subscriber, void*, std::uint32_t, std::size_t*);

    // Fills the table. `find` gives the address of a symbol, or null.
    template <class Find>
    void bind(Find&& find) {
        const auto to = [&find]<class R, class... A>(R (*&f)(A...), const char* symbol) {
            f = reinterpret_cast<R (*)(A...)>(find(symbol));
        };
        to(get_version, "cuptiGetVersion");
        to(result_string, "cuptiGetResultString");
        to(get_timestamp, "cuptiGetTimestamp");
        to(graph_node_id, "cuptiGetGraphNodeId");
        to(subscribe, "cuptiSubscribe");
        to(subscribe_v2, "cuptiSubscribe_v2");
        to(unsubscribe, "cuptiUnsubscribe");
        to(enable_callback, "cuptiEnableCallback");
        to(flush_all, "cuptiActivityFlushAll");
        to(set_attribute, "cuptiActivitySetAttribute");
        to(register_callbacks, "cuptiActivityRegisterCallbacks");
        to(enable, "cuptiActivityEnable");
        to(disable, "cuptiActivityDisable");
        to(next_record, "cuptiActivityGetNextRecord");
        to(dropped, "cuptiActivityGetNumDroppedRecords");
        to(set_attribute_v2, "cuptiActivitySetAttribute_v2");
        to(register_callbacks_v2, "cuptiActivityRegisterCallbacks_v2");
        to(enable_v2, "cuptiActivityEnable_v2");
        to(disable_v2, "cuptiActivityDisable_v2");
        to(next_record_v2, "cuptiActivityGetNextRecord_v2");
        to(dropped_v2, "cuptiActivityGetNumDroppedRecords_v2");
    }

    // Without these there is nothing to do.
    [[nodiscard]] bool complete() const noexcept {
        return get_version != nullptr && get_timestamp != nullptr && subscribe != nullptr &&
               unsubscribe != nullptr && enable_callback != nullptr && flush_all != nullptr &&
               register_callbacks != nullptr && enable != nullptr && disable != nullptr &&
               next_record != nullptr;
    }
    [[nodiscard]] bool second_family() const noexcept {
        return subscribe_v2 != nullptr && register_callbacks_v2 != nullptr &&
               enable_v2 != nullptr && disable_v2 != nullptr && next_record_v2 != nullptr;
    }
};

}  // namespace picojoule::cupti
