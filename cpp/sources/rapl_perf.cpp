// The same counters through the PMU "power": 64 bits wide, their wraps handled by the kernel.
#include "sources/rapl_perf.h"

#include <set>

#include "sources/perf_pmu.h"
#include "sources/sysfs.h"

namespace picojoule::rapl {
namespace {

struct Event {
    const char* file;
    const char* domain;
    bool in_total;
    bool once;  // of the whole machine, not of each package
};
constexpr Event kEvents[] = {
    {"energy-pkg", "package", true, false}, {"energy-cores", "core", false, false},
    {"energy-gpu", "uncore", false, false}, {"energy-ram", "dram", true, false},
    {"energy-psys", "psys", false, true},
};

class PerfSource final : public Source {
  public:
    void add(Channel channel, UniqueFd fd) {
        channels_.push_back(std::move(channel));
        fds_.push_back(std::move(fd));
    }
    [[nodiscard]] bool empty() const noexcept { return fds_.empty(); }

    [[nodiscard]] std::span<const Channel> channels() const noexcept override { return channels_; }

    ReadStatus read(std::span<RawValue> values) noexcept override {
        bool any = false;
        for (std::size_t i = 0; i < fds_.size(); ++i) {
            const ssize_t got = ::read(fds_[i].get(), &values[i].raw, sizeof values[i].raw);
            values[i].valid = got == static_cast<ssize_t>(sizeof values[i].raw);
            any |= values[i].valid;
            // 0 bytes: the event is in error state, its CPU went offline
            if (!values[i].valid) error_ = got < 0 ? errno : ENODEV;
        }
        return any ? ReadStatus::ok : sysfs::status_of(error_);
    }

    [[nodiscard]] std::string failure() const override {
        return "perf event: " + std::generic_category().message(error_);
    }

  private:
    std::vector<Channel> channels_;
    std::vector<UniqueFd> fds_;
    int error_{};
};

}  // namespace

bool discover_perf(const Environment& environment, Discovery& found) {
    const std::string pmu = environment.sysfs_root + "/bus/event_source/devices/power";
    const auto type = sysfs::number(pmu + "/type");
    if (!type) return false;

    const std::vector<int> cpus = perf::cpus_of(sysfs::line(pmu + "/cpumask").value_or("0"));
    const auto topology = [&](int cpu, const char* what) {
        return sysfs::number(environment.sysfs_root + "/devices/system/cpu/cpu" +
                             std::to_string(cpu) + "/topology/" + what)
            .value_or(0);
    };
    // Two CPUs of one package in the mask: the counters are those of its dies.
    std::set<std::uint64_t> packages;
    for (const int cpu : cpus) packages.insert(topology(cpu, "physical_package_id"));
    const bool by_die = packages.size() < cpus.size();

    auto source = std::make_unique<PerfSource>();
    std::set<std::string> seen;
    int error = 0;
    std::string domains;
    for (const Event& event : kEvents) {
        const std::string file = pmu + "/events/" + event.file;
        const auto text = sysfs::line(file);
        const auto config = text ? perf::config_of(*text) : std::nullopt;
        const auto scale_text = sysfs::line(file + ".scale");
        double scale{};
        if (!config || !scale_text ||
            std::from_chars(scale_text->data(), scale_text->data() + scale_text->size(), scale)
                    .ec != std::errc()) {
            continue;
        }
        for (const int cpu : cpus) {
            std::string domain = event.domain;
            if (!event.once) {
                domain = std::string("cpu:")
                             .append(std::to_string(topology(cpu, "physical_package_id")))
                             .append("/")
                             .append(domain);
                if (by_die) domain += "-die-" + std::to_string(topology(cpu, "die_id"));
            }
            if (seen.contains(domain)) continue;
            UniqueFd fd = perf::open_event(static_cast<std::uint32_t>(*type), *config, cpu);
            if (!fd) {
                error = errno;
                continue;
            }
            seen.insert(domain);
            Channel c = channel(environment, domain, event.in_total);
            c.unit = scale;
            source->add(std::move(c), std::move(fd));
            domains += (domains.empty() ? "" : ", ") + domain;
        }
    }
    if (!source->empty()) {
        found.sources.push_back(std::move(source));
        found.findings.push_back(
            {Finding::State::works, pmu, "perf events measure " + domains, ""});
    } else if (error == EACCES || error == EPERM) {
        found.findings.push_back(perf::whole_machine_refused(environment));
    } else {
        found.findings.push_back(
            {Finding::State::refused, pmu,
             error == 0 ? "the power PMU lists no energy event"
                        : "perf_event_open: " + std::generic_category().message(error),
             ""});
    }
    return true;
}

}  // namespace picojoule::rapl
