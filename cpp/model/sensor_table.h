// What is known of power sensors before they are looked at: how often a field publishes, what
// stretch of time a value is of, how far boards are off. The one table of it: meters take the
// windows of their channels from it, identification its priors.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace picojoule {

enum class SensorShape : std::uint8_t {
    boxcar,    // mean over a window that ends some delay before the tick
    lag,       // first-order lag of the power, at one instant
    integral,  // a counter: everything since the tick before
};

constexpr const char* to_string(SensorShape s) noexcept {
    constexpr const char* names[] = {"boxcar", "lag", "integral"};
    return names[static_cast<unsigned>(s)];
}

// A quantity with its spread among boards. NaN: not known.
struct Known {
    double mean;
    double std;
};

struct SensorPrior {
    const char* family;  // "nvidia gh100"
    const char* field;   // "instant", "average", "memory" or "energy"
    SensorShape shape;
    // Of a lag the window is the stretch that a value is mostly of, about twice tau.
    Known period_s, window_s, tau_s;
    Known gain, offset_w;  // reading = gain * power + offset
    double noise_w;
    const char* source;
};

std::span<const SensorPrior> sensor_table();

// The family of a product by its name ("NVIDIA H100 80GB HBM3") or by the family's own; "": none.
std::string_view sensor_family(std::string_view product);
// The same where NVML told the generation: the name then only tells members of it apart.
std::string_view sensor_family(std::string_view product, unsigned nvml_architecture, bool ga100);

// Null: nothing is known. What a table has under a family for "average" holds for "memory", which
// is one.
const SensorPrior* sensor_prior(std::string_view family, std::string_view field);

}  // namespace picojoule
