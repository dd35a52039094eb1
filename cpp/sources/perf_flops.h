// Which perf events count the floating-point operations of a CPU, and how they are asked for.
#pragma once

#include <linux/perf_event.h>

#include <cstdint>
#include <string>
#include <vector>

namespace picojoule::perf_flops {

// A CPU, as /proc/cpuinfo and the kernel's core PMU name it.
struct Cpu {
    std::string vendor;  // "GenuineIntel", "AuthenticAMD"
    unsigned family{};
    unsigned model{};
    std::string pmu_name;  // "skylake"; Intel only
};

struct Event {
    std::uint64_t config{};  // event | umask << 8, of the core PMU
    unsigned flops{};        // for one count
};

// What to count; empty for a CPU that is not known. The sum of counts times flops is FLOPs, an FMA
// being two.
std::vector<Event> events_of(const Cpu& cpu);

// For one thread and the threads it will start, in user mode: what a process may ask of its own
// where perf_event_paranoid is 2.
perf_event_attr attributes_of(const Event& event, std::uint32_t pmu_type);

// What read() gives for such an event.
struct Count {
    std::uint64_t value{};
    std::uint64_t enabled_ns{};
    std::uint64_t running_ns{};
};

// The counts since `before`, scaled up if the event shared its counter with others and so ran only
// a part of the time. 0 where it never ran: then `before` is to be kept.
double counted_since(const Count& before, const Count& now) noexcept;

}  // namespace picojoule::perf_flops
