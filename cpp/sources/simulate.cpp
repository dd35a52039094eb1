// A meter that is not there: a simulated sensor of a known waveform, published in real time, so
// that everything behind a meter can be tried where there is none. What it is told comes from
// picojoule/simulate/live_meter.py, where the sensors have their names.
#include <time.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "sources/simulated_sensor.h"
#include "sources/source.h"

namespace picojoule {
namespace {

// "a=1;b=2" as a map; the last of two counts.
std::map<std::string, std::string, std::less<>> fields_of(std::string_view text) {
    std::map<std::string, std::string, std::less<>> out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(';'), text.size());
        const std::string_view one = text.substr(0, end);
        const std::size_t equals = one.find('=');
        if (equals != std::string_view::npos) {
            out[std::string(one.substr(0, equals))] = std::string(one.substr(equals + 1));
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

std::optional<double> number_of(std::string_view text) {
    double value{};
    const char* end = text.data() + text.size();
    // Ends where `end` says. NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage)
    const auto result = std::from_chars(text.data(), end, value);
    if (text.empty() || result.ec != std::errc() || result.ptr != end) return std::nullopt;
    return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

// "100:500000000,400:500000000": watts and nanoseconds.
std::vector<Waveform::Level> levels_of(std::string_view text) {
    std::vector<Waveform::Level> out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(','), text.size());
        const std::string_view one = text.substr(0, end);
        const std::size_t colon = std::min(one.find(':'), one.size());
        const auto watts = number_of(one.substr(0, colon));
        const auto length = number_of(one.substr(std::min(colon + 1, one.size())));
        if (!watts || !length || !(*length >= 1.0) || !(*length < 1e18)) return {};
        out.push_back({*watts, static_cast<std::int64_t>(*length)});
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

class Simulated final : public Source {
  public:
    Simulated(SimulatedSensorSpec spec, Waveform waveform, Channel channel, double stalled)
        : sensor_(spec, std::move(waveform), now_ns()),
          channel_(std::move(channel)),
          stalled_(stalled) {}

    [[nodiscard]] std::span<const Channel> channels() const noexcept override {
        return {&channel_, 1};
    }

    ReadStatus read(std::span<RawValue> values) noexcept override {
        stall();
        values[0] = {sensor_.show(now_ns()), true};
        return ReadStatus::ok;
    }

  private:
    // Every so many looks take 3 ms, as they do where a driver is busy.
    void stall() noexcept {
        owed_ += stalled_;
        if (owed_ < 1.0) return;
        owed_ -= 1.0;
        const timespec length{0, 3 * kNsPerMs};
        ::nanosleep(&length, nullptr);
    }

    SimulatedSensor sensor_;
    Channel channel_;
    double stalled_;
    double owed_{};
};

Discovery refused(std::string_view what) {
    Discovery found;
    found.findings.push_back({Finding::State::refused, "simulate",
                              "what to simulate is not complete: " + std::string(what),
                              "sources=[\"simulate:nvml_energy,workload=steps\"]"});
    return found;
}

}  // namespace

namespace simulate {

Discovery discover(const Environment& environment) {
    if (environment.argument.empty()) {
        Discovery none;
        none.findings.push_back({Finding::State::absent, "simulate", "no sensor was named",
                                 "sources=[\"simulate:nvml_energy,workload=steps\"]"});
        return none;
    }
    const auto fields = fields_of(environment.argument);
    const auto text = [&](std::string_view name) {
        const auto at = fields.find(name);
        return at == fields.end() ? std::string() : at->second;
    };
    SimulatedSensorSpec spec;
    using Shape = SimulatedSensorSpec::Shape;
    const std::map<std::string, Shape, std::less<>> shapes{{"boxcar", Shape::boxcar},
                                                           {"lag", Shape::lag},
                                                           {"integral", Shape::integral},
                                                           {"sampled", Shape::sampled}};
    const auto shape = shapes.find(text("shape"));
    if (shape == shapes.end()) return refused("shape");
    spec.shape = shape->second;
    double wrap_at{};
    double seed{};
    double gain_std{};
    double stalled{};
    const std::pair<std::string_view, double*> numbers[] = {
        {"period_ns", &spec.period_ns},
        {"window_ns", &spec.window_ns},
        {"delay_ns", &spec.delay_ns},
        {"tau_ns", &spec.tau_ns},
        {"gain", &spec.gain},
        {"offset_w", &spec.offset_w},
        {"noise_w", &spec.noise_w},
        {"quantum", &spec.quantum},
        {"jitter_ns", &spec.jitter_ns},
        {"missed", &spec.missed},
        {"latency_ns", &spec.latency_ns},
        {"phase_ns", &spec.phase_ns},
        {"wrap_at", &wrap_at},
        {"seed", &seed},
        {"gain_std", &gain_std},
        {"stalled", &stalled},
    };
    for (const auto& [name, place] : numbers) {
        if (!fields.contains(name)) continue;
        const auto value = number_of(text(name));
        if (!value) return refused(name);
        *place = *value;
    }
    const bool windowed = spec.shape == Shape::boxcar || spec.shape == Shape::sampled;
    if (!(spec.period_ns >= 1.0)) return refused("period_ns");
    if (windowed && !(spec.window_ns >= 1.0)) return refused("window_ns");
    if (spec.shape == Shape::lag && !(spec.tau_ns > 0.0)) return refused("tau_ns");
    if (!(spec.quantum > 0.0)) return refused("quantum");
    if (!(spec.missed >= 0.0 && spec.missed < 1.0)) return refused("missed");
    if (!(stalled >= 0.0 && stalled <= 1.0)) return refused("stalled");
    if (!(wrap_at >= 0.0 && wrap_at < 0x1p63)) return refused("wrap_at");
    if (!(seed >= 0.0 && seed < 0x1p53)) return refused("seed");
    spec.wrap_at = static_cast<std::uint64_t>(wrap_at);
    spec.seed = static_cast<std::uint64_t>(seed);
    std::vector<Waveform::Level> levels = levels_of(text("levels"));
    if (levels.empty()) return refused("levels");

    Channel channel;
    channel.meter = "simulate";
    channel.domain = fields.contains("domain") ? text("domain") : "gpu:0";
    const bool slow = windowed && spec.window_ns > spec.period_ns;
    channel.field = spec.counter() ? "energy" : slow ? "power_average" : "power_instant";
    channel.device = "simulated " + text("name");
    channel.note = "made-up power, no meter";
    channel.quantity = spec.counter() ? Quantity::energy : Quantity::power;
    channel.provenance = Provenance::simulated;
    // A sensor this fast is no clock to be learned; its meter would say how fast it is.
    if (spec.period_ns <= 5.0 * kNsPerMs) {
        channel.update_period_ns = static_cast<std::int64_t>(spec.period_ns);
    }
    if (!spec.counter()) channel.window_ns = static_cast<std::int64_t>(spec.window_ns);
    channel.unit = spec.quantum;
    channel.wrap_at = spec.wrap_at;
    channel.gain_std = gain_std;

    Discovery found;
    found.findings.push_back({Finding::State::works, channel.device, channel.note, ""});
    found.sources.push_back(std::make_unique<Simulated>(spec, Waveform(std::move(levels)),
                                                        std::move(channel), stalled));
    return found;
}

}  // namespace simulate
}  // namespace picojoule
