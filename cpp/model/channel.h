// What one series of readings is. Written once when a meter opens; records carry its index only.
#pragma once

#include <cstdint>
#include <string>

namespace picojoule {

// Stored by number in journals: append only.
enum class Quantity : std::uint8_t {
    energy,       // a cumulative counter; raw * unit = joules
    power,        // a gauge; raw * unit = watts
    ratio,        // raw * unit = mean share (0 to 1) over the time since the previous reading
    rate,         // raw * unit = mean bytes/s over the time since the previous reading
    count,        // a cumulative counter of anything but joules; the field's name says of what
    frequency,    // a gauge; raw * unit = hertz
    flags,        // a bit mask
    temperature,  // a gauge; raw * unit = degrees Celsius
};
constexpr unsigned kQuantities = 8;

// How a number was got. The order is that of trust. Stored by number in journals: append only.
enum class Provenance : std::uint8_t { measured, counted, modelled, estimated, simulated };
constexpr unsigned kProvenances = 5;

constexpr const char* to_string(Quantity q) noexcept {
    constexpr const char* names[] = {"energy", "power",     "ratio", "rate",
                                     "count",  "frequency", "flags", "temperature"};
    static_assert(sizeof names / sizeof *names == kQuantities);
    return names[static_cast<unsigned>(q)];
}
// Whether joules can be had from it. All else tells what the device was doing meanwhile.
constexpr bool tells_energy(Quantity q) noexcept {
    return q == Quantity::energy || q == Quantity::power;
}
// Whether readings add up, so that a wrap can be undone and differences mean something.
constexpr bool is_cumulative(Quantity q) noexcept {
    return q == Quantity::energy || q == Quantity::count;
}
constexpr const char* to_string(Provenance p) noexcept {
    constexpr const char* names[] = {"measured", "counted", "modelled", "estimated", "simulated"};
    static_assert(sizeof names / sizeof *names == kProvenances);
    return names[static_cast<unsigned>(p)];
}

struct Channel {
    std::string meter;   // registry name: "nvml"
    std::string domain;  // what the joules are of: "gpu:0", "cpu:0/package", "cpu:0/dram", "cpu"
    std::string field;   // which series of that domain: "energy", "power_instant", "power_average"
    std::string device;  // for people: "NVIDIA H100 80GB HBM3 (GPU-1b2c...)"
    std::string note;    // what a reader must know: "whole board: this process sees one MIG slice"
    Quantity quantity{};
    Provenance provenance{};
    // Whether these joules count towards a total. False for what another domain contains already
    // (a core inside its package) and for the second, third series of one domain.
    bool in_total{true};
    // True: the sensor publishes at instants of its own (ticks) and holds its value between them.
    // False: each read gives the value of that very instant.
    bool latched{true};
    std::int64_t update_period_ns{};  // how often the hardware publishes; 0: unknown, to be learned
    std::int64_t window_ns{};         // averaging window of a gauge; 0: unknown, or a counter
    double unit{};                    // joules, watts, hertz... for one raw count
    std::uint64_t wrap_at{};          // modulus of a counter; 0: it never wraps
    // Relative standard uncertainty of the absolute scale (board gain, model). It does not average
    // out, and it is common to all readings of the channel.
    double gain_std{};
};

}  // namespace picojoule
