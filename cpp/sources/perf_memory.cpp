// Bytes between CPUs and memory, counted by the memory controllers. Of the whole machine; no
// joules.
#include "sources/perf_memory.h"

#include <linux/perf_event.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "sources/perf_flops.h"
#include "sources/perf_pmu.h"
#include "sources/sysfs.h"

namespace picojoule::perf_memory {
namespace {

constexpr std::int64_t kPaceNs = 100 * kNsPerMs;
constexpr double kMiB = 1048576.0;
constexpr double kLine = 64.0;

// Intel: of servers, of clients, and the counters of clients that run free. Where a machine has
// several of these they count the same bytes; the first there is is taken.
struct Names {
    const char* reads;
    const char* writes;
};
constexpr Names kIntel[] = {{"cas_count_read", "cas_count_write"},
                            {"data_reads", "data_writes"},
                            {"data_read", "data_write"}};

std::optional<Event> described(const std::string& folder, const std::string& pmu,
                               const char* name) {
    const std::string file = folder + "/events/" + name;
    const auto text = sysfs::line(file);
    const auto type = sysfs::number(folder + "/type");
    const auto config = text ? perf::config_of(*text) : std::nullopt;
    if (!config || !type) return std::nullopt;
    Event e{pmu, static_cast<std::uint32_t>(*type), *config, kLine, false, {}};
    const auto scale = sysfs::line(file + ".scale");
    if (scale) {
        double value{};
        const bool mebi = sysfs::line(file + ".unit").value_or("") == "MiB";
        if (!mebi || std::from_chars(scale->data(), scale->data() + scale->size(), value).ec !=
                         std::errc()) {
            return std::nullopt;  // in what it counts is not known
        }
        e.bytes = value * kMiB;
    }
    e.cpus = perf::cpus_of(sysfs::line(folder + "/cpumask").value_or("0"));
    return e;
}

// AMD from Zen 4 on: commands to memory (event 0x0a) of one cache line each, told apart by a mask.
// The kernel names no events of this PMU.
void add_amd(const std::string& folder, const std::string& pmu, std::vector<Event>& events) {
    const auto type = sysfs::number(folder + "/type");
    const auto mask = sysfs::line(folder + "/format/rdwrmask");
    if (!type || mask != "config:8-9") return;
    const auto cpus = perf::cpus_of(sysfs::line(folder + "/cpumask").value_or("0"));
    for (const bool writes : {false, true}) {
        events.push_back({pmu, static_cast<std::uint32_t>(*type), 0x0aU | (writes ? 2U : 1U) << 8U,
                          kLine, writes, cpus});
    }
}

class Memory final : public Source {
  public:
    struct Counter {
        UniqueFd fd;
        double bytes{};
        std::size_t channel{};
        perf_flops::Count last{};
    };

    Memory(std::vector<Channel> channels, std::vector<Counter> counters)
        : channels_(std::move(channels)),
          counters_(std::move(counters)),
          totals_(channels_.size()) {}

    [[nodiscard]] std::span<const Channel> channels() const noexcept override { return channels_; }
    [[nodiscard]] std::int64_t pace_ns() const noexcept override { return kPaceNs; }

    ReadStatus read(std::span<RawValue> values) noexcept override {
        for (Counter& c : counters_) {
            perf_flops::Count now;
            const ssize_t got = ::read(c.fd.get(), &now, sizeof now);
            if (got != static_cast<ssize_t>(sizeof now)) {
                error_ = got < 0 ? errno : ENODEV;
                for (RawValue& value : values) value = {};
                return sysfs::status_of(error_);
            }
            const double counts = perf_flops::counted_since(c.last, now);
            if (counts <= 0.0) continue;
            totals_[c.channel] += counts * c.bytes;
            c.last = now;
        }
        for (std::size_t i = 0; i < totals_.size(); ++i) {
            values[i] = {static_cast<std::uint64_t>(totals_[i]), true};
        }
        return ReadStatus::ok;
    }

    [[nodiscard]] std::string failure() const override {
        return "perf event: " + std::generic_category().message(error_);
    }

  private:
    std::vector<Channel> channels_;
    std::vector<Counter> counters_;  // one for each controller and direction
    std::vector<double> totals_;     // bytes
    int error_{};
};

Channel channel(const Environment& environment, std::string domain, bool writes) {
    Channel c;
    c.meter = "perf_memory";
    c.domain = std::move(domain);
    c.field = writes ? "dram_write_bytes" : "dram_read_bytes";
    c.device = sysfs::cpu_model(environment);
    c.note = "of the whole package, whoever moved them; counted by its memory controllers";
    c.quantity = Quantity::count;
    c.provenance = Provenance::counted;
    c.in_total = false;
    c.update_period_ns = kPaceNs;
    c.unit = 1.0;
    return c;
}

}  // namespace

std::vector<Event> events_of(const Environment& environment) {
    const std::string root = environment.sysfs_root + "/bus/event_source/devices";
    const std::vector<std::string> pmus = sysfs::names(root);
    const auto folder_of = [&](const std::string& pmu) {
        std::string folder = root;
        folder.append("/").append(pmu);
        return folder;
    };
    std::vector<Event> events;
    for (const Names& names : kIntel) {
        for (const std::string& pmu : pmus) {
            if (!pmu.starts_with("uncore_imc")) continue;
            for (const bool writes : {false, true}) {
                auto e = described(folder_of(pmu), pmu, writes ? names.writes : names.reads);
                if (!e) continue;
                e->writes = writes;
                events.push_back(std::move(*e));
            }
        }
        if (!events.empty()) return events;
    }
    for (const std::string& pmu : pmus) {
        if (pmu.starts_with("amd_umc")) add_amd(folder_of(pmu), pmu, events);
    }
    return events;
}

Discovery discover(const Environment& environment) {
    Discovery found;
    const std::vector<Event> events = events_of(environment);
    if (events.empty()) {
        found.findings.push_back(
            {Finding::State::absent, "memory controllers",
             "the kernel offers no counters of them here (a virtual machine, or a CPU before Zen 4 "
             "or without uncore_imc)",
             ""});
        return found;
    }
    std::vector<Channel> channels;
    std::vector<Memory::Counter> counters;
    std::map<std::pair<std::uint64_t, bool>, std::size_t> places;
    int error = 0;
    for (const Event& event : events) {
        for (const int cpu : event.cpus) {
            UniqueFd fd =
                perf::open_event(event.type, event.config, cpu,
                                 PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING);
            if (!fd) {
                error = errno;
                continue;
            }
            const std::uint64_t package =
                sysfs::number(environment.sysfs_root + "/devices/system/cpu/cpu" +
                              std::to_string(cpu) + "/topology/physical_package_id")
                    .value_or(0);
            const auto [at, first] = places.try_emplace({package, event.writes}, channels.size());
            if (first) {
                channels.push_back(
                    channel(environment, "cpu:" + std::to_string(package), event.writes));
            }
            counters.push_back({std::move(fd), event.bytes, at->second, {}});
        }
    }
    // Some of the controllers would be some of the bytes, and look like all of them.
    if (error == EACCES || error == EPERM) {
        found.findings.push_back(perf::whole_machine_refused(environment));
    } else if (error != 0) {
        found.findings.push_back({Finding::State::refused, events.front().pmu,
                                  "perf_event_open: " + std::generic_category().message(error),
                                  ""});
    } else {
        found.findings.push_back(
            {Finding::State::works, "perf events",
             std::to_string(counters.size()) + " counters of memory controllers", ""});
        found.sources.push_back(std::make_unique<Memory>(std::move(channels), std::move(counters)));
    }
    return found;
}

}  // namespace picojoule::perf_memory
