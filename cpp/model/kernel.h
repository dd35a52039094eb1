// What ran on a device: kernels and copies. A record carries two indices, one of what ran and one
// of where; both tables are bounded by how many distinct things a program does.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace picojoule {

enum class ActivityKind : std::uint8_t { kernel = 1, memcpy = 2, memset = 3, other = 4 };

constexpr const char* to_string(ActivityKind k) noexcept {
    constexpr const char* names[] = {"", "kernel", "memcpy", "memset", "other"};
    return names[static_cast<unsigned>(k)];
}

// One kernel with one launch shape, or copies of one size. FLOPs and bytes are known by this.
struct KernelClass {
    ActivityKind kind{ActivityKind::kernel};
    std::string name;  // demangled; of a copy its direction ("memcpy HtoD")
    std::array<std::uint32_t, 3> grid{};
    std::array<std::uint32_t, 3> block{};
    std::uint32_t static_shared{};   // bytes
    std::uint32_t dynamic_shared{};  // bytes
    // Of a copy; 0 where more distinct sizes were seen than are told apart, and for a kernel.
    std::uint64_t bytes{};

    bool operator==(const KernelClass&) const = default;
};

// A queue of a device: what is on one track runs one after the other, but for nodes of one graph.
struct Track {
    std::string domain;  // whose joules it uses: "gpu:0"
    std::string device;  // for people
    std::uint64_t context{};
    std::uint64_t stream{};

    bool operator==(const Track&) const = default;
};

// One path, kernel and device over a whole profile: what is kept however long it runs.
struct KernelCell {
    std::uint32_t path{};
    std::uint32_t kernel_class{};
    std::uint32_t track{};
    std::uint32_t flags{};
    std::uint64_t count{};
    std::int64_t time_ns{};
    std::int64_t least_ns{};
    std::int64_t most_ns{};
    double time2_ns2{};  // sum of squares
};
static_assert(sizeof(KernelCell) == 56);

}  // namespace picojoule
