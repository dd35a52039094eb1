// Sensors that the kernel lists under hwmon: energy counters (uJ) and power gauges (uW). Most
// cannot say what they contain, and what is not identified is not in the total.
#include <map>
#include <set>

#include "base/clock.h"
#include "sources/superchip.h"
#include "sources/sysfs.h"

namespace picojoule {
namespace {

using sysfs::NumberFile;

constexpr double kCounterGainStd = 0.05;
constexpr double kGaugeGainStd = 0.1;

struct Sensor {
    std::string file;   // "power1_average"
    std::string index;  // "power1"
    Quantity quantity;
    bool average;
};

// The number behind `prefix`, as in "Esocket0".
std::optional<std::string> number_after(const std::string& label, std::string_view prefix) {
    if (!label.starts_with(prefix) || label.size() == prefix.size()) return std::nullopt;
    std::string digits = label.substr(prefix.size());
    for (const char c : digits) {
        if (c < '0' || c > '9') return std::nullopt;
    }
    return digits;
}

std::vector<Sensor> sensors_in(const std::string& directory) {
    std::vector<Sensor> sensors;
    std::set<std::string> indices;
    // An average misses nothing between two reads, so it comes before the instant of the same
    // sensor.
    for (const bool average : {true, false}) {
        const std::string suffix = average ? "_average" : "_input";
        for (const std::string& file : sysfs::names(directory)) {
            if (!file.ends_with(suffix)) continue;
            const std::string index = file.substr(0, file.size() - suffix.size());
            const bool energy = number_after(index, "energy").has_value();
            if (!energy && !number_after(index, "power")) continue;
            if (energy && average) continue;
            if (!indices.insert(index).second) continue;
            sensors.push_back({file, index, energy ? Quantity::energy : Quantity::power, average});
        }
    }
    std::ranges::stable_partition(sensors,
                                  [](const Sensor& s) { return s.quantity == Quantity::energy; });
    return sensors;
}

class Chips {
  public:
    explicit Chips(const Environment& environment)
        : root_(environment.sysfs_root + "/class/hwmon/"),
          rapl_(sysfs::exists(environment.sysfs_root + "/class/powercap/intel-rapl:0") ||
                sysfs::exists(environment.sysfs_root + "/bus/event_source/devices/power")),
          superchip_(gpu_counts_cpu(environment)) {}

    Discovery discover() {
        for (const std::string& entry : sysfs::names(root_)) add_chip(root_ + entry);
        if (found_.findings.empty()) {
            found_.findings.push_back(
                {Finding::State::absent, root_, "no sensor here reports energy or power", ""});
        }
        return std::move(found_);
    }

  private:
    void add_chip(const std::string& entry) {
        // Drivers of the old style, ACPI's power_meter among them, keep their files one level
        // below.
        std::string directory = entry;
        std::vector<Sensor> sensors = sensors_in(directory);
        if (sensors.empty()) {
            directory = entry + "/device";
            sensors = sensors_in(directory);
        }
        if (sensors.empty()) return;

        const std::string chip = sysfs::line(entry + "/name")
                                     .value_or(sysfs::line(directory + "/name").value_or("chip"));
        auto source = std::make_unique<sysfs::FileSource>();
        std::string domains;
        std::string closed;
        for (const Sensor& sensor : sensors) {
            NumberFile file(directory + "/" + sensor.file);
            std::uint64_t value{};
            if (!file.read(value)) {
                if (sysfs::status_of(file.error()) == ReadStatus::denied) {
                    if (closed.empty()) closed = file.path();
                    continue;
                }
                found_.findings.push_back(
                    {Finding::State::refused, file.path(),
                     "cannot be read: " + std::generic_category().message(file.error()), ""});
                continue;
            }
            Channel c = describe(chip, directory, sensor);
            domains += (domains.empty() ? "" : ", ") + c.domain;
            source->add(std::move(c), std::move(file));
        }
        if (!source->empty()) {
            found_.sources.push_back(std::move(source));
            found_.findings.push_back(
                {Finding::State::works, directory, chip + " reports " + domains, ""});
        }
        if (!closed.empty()) {
            found_.findings.push_back(
                {Finding::State::refused, closed,
                 chip + " is readable by root only; the command lasts until "
                        "the next boot",
                 "sudo chmod a+r " + directory + "/energy*_input " + directory + "/power*_input"});
        }
    }

    Channel describe(const std::string& chip, const std::string& directory, const Sensor& sensor) {
        const std::string at = directory + "/" + sensor.index;
        std::string label = sensor.index;
        for (const char* file : {"_label", "_oem_info"}) {
            if (const auto text = sysfs::line(at + file); text && !text->empty()) {
                label = *text;
                break;
            }
        }
        Channel c;
        c.meter = "hwmon";
        c.domain = "hwmon:" + chip + "/" + label;
        c.device = chip + " " + label;
        c.quantity = sensor.quantity;
        c.in_total = false;
        c.unit = 1e-6;
        c.note = "what this sensor contains is not known: not in the total";
        if (sensor.quantity == Quantity::energy) {
            c.field = "energy";
            c.provenance = Provenance::measured;
            c.gain_std = kCounterGainStd;
        } else {
            c.field = sensor.average ? "power_average" : "power_instant";
            c.provenance = Provenance::modelled;
            c.gain_std = kGaugeGainStd;
            if (sensor.average) {
                c.window_ns =
                    static_cast<std::int64_t>(sysfs::number(at + "_average_interval").value_or(0)) *
                    kNsPerMs;
            }
        }
        if (is_graphics(chip)) {
            identify_graphics(chip, directory, label, c);
        } else {
            identify(chip, label, c);
        }
        if (const unsigned copy = ++seen_[c.domain]; copy > 1) {
            c.domain.append("#").append(std::to_string(copy));
            c.in_total = false;
        }
        return c;
    }

    static bool is_graphics(const std::string& chip) {
        // The tiles of an Intel card are chips of their own, "i915_gt0", and are left unidentified.
        return chip == "amdgpu" || chip == "i915" || chip == "xe";
    }

    // Cards that are a GPU and nothing else. One sensor of a card counts; a counter before a gauge.
    void identify_graphics(const std::string& chip, const std::string& directory,
                           const std::string& label, Channel& c) {
        // amdgpu drives integrated graphics too, whose sensor is that of the whole processor. The
        // third byte of its metrics tells them apart: 1 for cards, 2 and 3 for processors. Intel's
        // drivers have these files for cards only.
        if (chip == "amdgpu" && sysfs::byte(directory + "/device/gpu_metrics", 2) != 1) {
            c.note = "perhaps a whole processor, graphics and CPU together: not in the total";
            return;
        }
        const std::string card =
            directory.substr(root_.size(), directory.find('/', root_.size()) - root_.size());
        c.domain = "gpu:" + card;
        c.device = chip + " graphics card " + label;
        c.in_total = cards_.insert(card).second;
        c.note = "everything that runs on this GPU, other programs too";
        if (!c.in_total) {
            c.domain.append("/").append(label);
            c.note += "; a second sensor of one card: not in the total";
        } else if (c.quantity == Quantity::power) {
            c.note += "; no energy counter: power readings, summed over time";
        }
    }

    // The few others that are known.
    void identify(const std::string& chip, const std::string& label, Channel& c) const {
        if (chip == "amd_energy" && c.quantity == Quantity::energy) {
            c.update_period_ns = kNsPerMs;
            if (const auto socket = number_after(label, "Esocket")) {
                c.domain = "cpu:" + *socket + "/socket";
                c.in_total = !rapl_;
                c.note = "everything that runs on this CPU, other programs too";
                if (rapl_) c.note += "; rapl counts the same joules: not in the total";
            } else if (number_after(label, "Ecore")) {
                c.note = "part of its socket: not in the total";
            }
        } else if (const auto socket = number_after(label, "Grace Power Socket ")) {
            c.domain = "cpu:" + *socket + "/grace";
            c.in_total = !superchip_;
            c.note =
                "everything that runs on this socket, other programs too; contains \"CPU Power "
                "Socket " +
                *socket + "\"";
            if (superchip_) c.note += "; the GPU's own counter contains it: not in the total";
        } else if (number_after(label, "CPU Power Socket ")) {
            c.note = "part of \"Grace Power Socket\": not in the total";
        } else if (number_after(label, kModuleMeter)) {
            c.note = "contains the GPU and \"Grace Power Socket\": not in the total";
        }
    }

    std::string root_;
    bool rapl_;
    bool superchip_;
    Discovery found_;
    std::map<std::string, unsigned> seen_;
    std::set<std::string> cards_;  // those of which a sensor is in the total already
};

}  // namespace

namespace hwmon {

Discovery discover(const Environment& environment) {
    return Chips(environment).discover();
}

}  // namespace hwmon
}  // namespace picojoule
