// The same counters through the PMU "power": 64 bits wide, their wraps handled by the kernel.
#include "sources/rapl_perf.h"

#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <set>

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

// "0,18" or "0-1": one CPU of each package.
std::vector<int> cpus_of(const std::string& mask) {
    std::vector<int> cpus;
    const char* at = mask.data();
    const char* end = at + mask.size();
    while (at < end) {
        int first{};
        auto parsed = std::from_chars(at, end, first);
        if (parsed.ec != std::errc()) break;
        int last = first;
        if (parsed.ptr < end && *parsed.ptr == '-') {
            parsed = std::from_chars(parsed.ptr + 1, end, last);
            if (parsed.ec != std::errc()) break;
        }
        for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
        at = parsed.ptr + 1;
    }
    return cpus;
}

// "event=0x02"; the format of this PMU puts it into the low byte, a umask above it.
std::optional<std::uint64_t> config_of(const std::string& text) {
    const auto value = [&text](std::string_view key) -> std::optional<std::uint64_t> {
        const auto at = text.find(key);
        if (at == std::string::npos) return std::nullopt;
        const char* from = text.data() + at + key.size();
        const char* end = text.data() + text.size();
        const bool hex = end - from > 2 && from[0] == '0' && (from[1] == 'x' || from[1] == 'X');
        std::uint64_t number{};
        const auto parsed = std::from_chars(hex ? from + 2 : from, end, number, hex ? 16 : 10);
        if (parsed.ec != std::errc()) return std::nullopt;
        return number;
    };
    const auto event = value("event=");
    if (!event) return std::nullopt;
    return *event | value("umask=").value_or(0) << 8U;
}

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

UniqueFd open_event(std::uint32_t type, std::uint64_t config, int cpu) {
    perf_event_attr attributes{};
    attributes.size = sizeof attributes;
    attributes.type = type;
    attributes.config = config;
    return UniqueFd(static_cast<int>(
        ::syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
}

}  // namespace

bool discover_perf(const Environment& environment, Discovery& found) {
    const std::string pmu = environment.sysfs_root + "/bus/event_source/devices/power";
    const auto type = sysfs::number(pmu + "/type");
    if (!type) return false;

    const std::vector<int> cpus = cpus_of(sysfs::line(pmu + "/cpumask").value_or("0"));
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
        const auto config = text ? config_of(*text) : std::nullopt;
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
            UniqueFd fd = open_event(static_cast<std::uint32_t>(*type), *config, cpu);
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
        const std::string paranoid = environment.procfs_root + "/sys/kernel/perf_event_paranoid";
        const std::string level = sysfs::line(paranoid).value_or("unreadable");
        if (level == "0" || level.starts_with('-')) {
            found.findings.push_back({Finding::State::refused, "perf_event_open",
                                      "forbidden although " + paranoid + " is " + level +
                                          ": a container's seccomp filter",
                                      "docker run --cap-add PERFMON"});
        } else {
            found.findings.push_back(
                {Finding::State::refused, paranoid,
                 "perf events of the whole machine need 0 or less here (it is " + level +
                     ") or CAP_PERFMON",
                 "sudo sysctl kernel.perf_event_paranoid=0"});
        }
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
