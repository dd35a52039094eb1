// The energy counters that Intel and AMD CPUs keep themselves, from the kernel's powercap tree. A
// package counter contains its core and uncore counters; dram is beside it; psys contains it all.
#include <set>

#include "base/clock.h"
#include "sources/rapl_perf.h"
#include "sources/sysfs.h"

namespace picojoule {
namespace {

using sysfs::NumberFile;

constexpr const char* kRemedy =
    "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj "
    "/sys/class/powercap/intel-rapl:*:*/energy_uj";

struct Domain {
    std::string name;
    bool in_total;
};

// "package-0" is cpu:0; "package-0-die-1" is cpu:0 with "-die-1" to tell the two apart.
struct Package {
    std::string cpu;
    std::string die;
};

std::optional<Package> package_of(const std::string& zone_name) {
    constexpr std::string_view kPrefix = "package-";
    if (!zone_name.starts_with(kPrefix)) return std::nullopt;
    const std::string rest = zone_name.substr(kPrefix.size());
    const auto dash = rest.find('-');
    return Package{"cpu:" + rest.substr(0, dash),
                   dash == std::string::npos ? "" : rest.substr(dash)};
}

// What a zone is called here. `parent` is the name of the zone that it lies in, if it does.
Domain domain_of(const std::string& name, const std::string& parent) {
    if (const auto package = package_of(name)) {
        return {package->cpu + "/package" + package->die, true};
    }
    if (const auto package = package_of(parent)) {
        return {package->cpu + "/" + name + package->die, name == "dram"};
    }
    return {name == "psys" ? name : "rapl:" + name, false};
}

bool is_zone(const std::string& entry) {
    return entry.starts_with("intel-rapl:");
}

// "intel-rapl:0:1" lies in "intel-rapl:0".
std::string parent_of(const std::string& entry) {
    const auto first = entry.find(':');
    const auto last = entry.rfind(':');
    return first == last ? "" : entry.substr(0, last);
}

// The tree's own findings. Returns whether there is a tree.
bool discover_powercap(const Environment& environment, Discovery& found) {
    const std::string root = environment.sysfs_root + "/class/powercap/";
    auto source = std::make_unique<sysfs::FileSource>();
    std::set<std::string> seen;
    std::string closed;
    std::size_t closed_count = 0;
    bool any = false;
    for (const std::string& entry : sysfs::names(root)) {
        if (!is_zone(entry)) continue;
        any = true;
        const std::string parent = parent_of(entry);
        const std::string name = sysfs::line(root + entry + "/name").value_or(entry);
        const std::string parent_name =
            parent.empty() ? "" : sysfs::line(root + parent + "/name").value_or("");
        const Domain domain = domain_of(name, parent_name);
        NumberFile file(root + entry + "/energy_uj");
        std::uint64_t value{};
        if (!file.read(value)) {
            if (sysfs::status_of(file.error()) == ReadStatus::denied) {
                if (closed_count++ == 0) closed = file.path();
                continue;
            }
            found.findings.push_back(
                {Finding::State::refused, file.path(),
                 "cannot be read: " + std::generic_category().message(file.error()), ""});
            continue;
        }
        if (!seen.insert(domain.name).second) {
            found.findings.push_back({Finding::State::refused, file.path(),
                                      "a second zone named \"" + name + "\": left out", ""});
            continue;
        }
        Channel c = rapl::channel(environment, domain.name, domain.in_total);
        c.unit = 1e-6;
        if (const auto range = sysfs::number(root + entry + "/max_energy_range_uj")) {
            c.wrap_at = *range + 1;
        }
        source->add(std::move(c), std::move(file));
        found.findings.push_back(
            {Finding::State::works, root + entry, "measures " + domain.name, ""});
    }
    if (closed_count > 0) {
        found.findings.push_back(
            {Finding::State::refused, closed,
             "readable by root only since 2020, because of CVE-2020-8694" +
                 (closed_count > 1 ? " (and " + std::to_string(closed_count - 1) + " more like it)"
                                   : std::string()) +
                 "; the command lasts until the next boot",
             kRemedy});
    }
    if (!source->empty()) found.sources.push_back(std::move(source));
    return any;
}

}  // namespace

namespace rapl {

Channel channel(const Environment& environment, std::string domain, bool in_total) {
    Channel c;
    c.meter = "rapl";
    c.domain = std::move(domain);
    c.field = "energy";
    c.device = sysfs::cpu_model(environment);
    c.note = "everything that runs on this CPU, other programs too";
    if (!in_total) c.note += "; part of another domain, or contains others: not in the total";
    c.quantity = Quantity::energy;
    c.provenance = Provenance::measured;
    c.in_total = in_total;
    c.update_period_ns = kNsPerMs;
    c.gain_std = 0.05;
    return c;
}

Discovery discover(const Environment& environment) {
    Discovery found;
    const bool powercap = discover_powercap(environment, found);
    if (!found.sources.empty()) return found;
    const bool pmu = discover_perf(environment, found);
    if (!powercap && !pmu) {
        found.findings.push_back(
            {Finding::State::absent, environment.sysfs_root + "/class/powercap",
             "no powercap tree and no power PMU: virtual machine, container or "
             "unsupported CPU",
             ""});
    }
    return found;
}

}  // namespace rapl
}  // namespace picojoule
