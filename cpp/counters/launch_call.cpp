#include "counters/launch_call.h"

#include <algorithm>

namespace picojoule::counters {
namespace {

template <class Shape>
LaunchCall kernel(const Shape& shape, bool per_thread) noexcept {
    LaunchCall call;
    call.kind = LaunchKind::kernel;
    std::copy_n(shape.grid, 3, call.grid.begin());
    std::copy_n(shape.block, 3, call.block.begin());
    call.dynamic_shared = shape.dynamic_shared;
    call.stream = shape.stream;
    // In those variants no stream means the thread's own (CU_STREAM_PER_THREAD).
    if (per_thread && call.stream == nullptr) call.stream = reinterpret_cast<void*>(0x2);
    return call;
}

}  // namespace

LaunchCall launch_of(std::uint32_t id, const void* parameters) noexcept {
    if (parameters == nullptr) return {};
    switch (id) {
        case 307:  // cuLaunchKernel
        case 477:  // cuLaunchCooperativeKernel
            return kernel(*static_cast<const LaunchKernelParams*>(parameters), false);
        case 442:  // cuLaunchKernel_ptsz
        case 478:  // cuLaunchCooperativeKernel_ptsz
            return kernel(*static_cast<const LaunchKernelParams*>(parameters), true);
        case 652:    // cuLaunchKernelEx
        case 653: {  // cuLaunchKernelEx_ptsz
            const auto* config = static_cast<const LaunchKernelExParams*>(parameters)->config;
            return config == nullptr ? LaunchCall{} : kernel(*config, id == 653);
        }
        case 514:  // cuGraphLaunch
        case 515: {
            LaunchCall call;
            call.kind = LaunchKind::graph;
            return call;
        }
        default:  // cuLaunchCooperativeKernelMultiDevice: several kernels
            return {};
    }
}

}  // namespace picojoule::counters
