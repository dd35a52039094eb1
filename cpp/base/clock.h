// One clock inside picojoule: nanoseconds of CLOCK_MONOTONIC. Foreign clocks (CLOCK_REALTIME, a
// vendor's) are converted where they enter.
#pragma once

#include <time.h>

#include <cstdint>

namespace picojoule {

constexpr std::int64_t kNsPerS = 1'000'000'000;
constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kNsPerUs = 1'000;

inline std::int64_t clock_ns(clockid_t clock) noexcept {
    timespec t{};
    ::clock_gettime(clock, &t);
    return static_cast<std::int64_t>(t.tv_sec) * kNsPerS + t.tv_nsec;
}

inline std::int64_t now_ns() noexcept {
    return clock_ns(CLOCK_MONOTONIC);
}

// CLOCK_REALTIME minus CLOCK_MONOTONIC, read so that neither can slip between the other's reads.
inline std::int64_t realtime_offset_ns() noexcept {
    const std::int64_t before = now_ns();
    const std::int64_t wall = clock_ns(CLOCK_REALTIME);
    return wall - (before + now_ns()) / 2;
}

}  // namespace picojoule
