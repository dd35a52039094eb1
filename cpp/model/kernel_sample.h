// Which kernels are kept one by one where there are more than memory is meant to hold: all that
// began in certain stretches of time, drawn at random from the whole profile.
//
// What is needed later are readings of which all kernels are known, so whole stretches are kept.
// Each level keeps about every second stretch of the level before, so that a sample can be thinned
// at any time. Drawn, since a program's own rhythm must not decide what is seen.
#pragma once

#include <cstdint>

namespace picojoule {

struct KernelSample {
    static constexpr std::int64_t kStretchNs = 1'000'000'000;
    static constexpr unsigned kMostLevels = 24;
    // In Trace::overhead, if not 1: of how many stretches one is kept.
    static constexpr const char* kKey = "kernels_kept_one_in";

    unsigned level{};  // 2^-level of all stretches are kept; none at the highest

    [[nodiscard]] std::uint64_t one_in() const { return std::uint64_t{1} << level; }
    // `since_begin_ns`: when it began, after the profile.
    [[nodiscard]] bool holds(std::int64_t since_begin_ns) const {
        if (level == 0) return true;
        if (level >= kMostLevels) return false;
        // The finalizer of splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
        auto x = static_cast<std::uint64_t>(since_begin_ns / kStretchNs) + 0x9E3779B97F4A7C15ULL;
        x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9ULL;
        x = (x ^ (x >> 27U)) * 0x94D049BB133111EBULL;
        x ^= x >> 31U;
        return (x & (one_in() - 1)) == 0;
    }
};

}  // namespace picojoule
