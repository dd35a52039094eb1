// What a call that launches something says of it, from the parameters that CUPTI shows at its
// beginning. The structs are those of the vendor's generated_cuda_meta.h and cuda.h.
#pragma once

#include <array>
#include <cstdint>

namespace picojoule::counters {

struct LaunchKernelParams {  // cuLaunchKernel; cuLaunchCooperativeKernel begins alike
    void* function;
    std::uint32_t grid[3];
    std::uint32_t block[3];
    std::uint32_t dynamic_shared;
    void* stream;
};

struct LaunchConfig {  // CUlaunchConfig
    std::uint32_t grid[3];
    std::uint32_t block[3];
    std::uint32_t dynamic_shared;
    void* stream;
};

struct LaunchKernelExParams {  // cuLaunchKernelEx
    const LaunchConfig* config;
    void* function;
};

enum class LaunchKind : std::uint8_t { kernel, graph, other };

struct LaunchCall {
    LaunchKind kind{LaunchKind::other};
    std::array<std::uint32_t, 3> grid{};
    std::array<std::uint32_t, 3> block{};
    std::uint32_t dynamic_shared{};
    void* stream{};  // as the calls of the driver's default variants take it
};

// `id` is that of the driver call.
LaunchCall launch_of(std::uint32_t id, const void* parameters) noexcept;

}  // namespace picojoule::counters
