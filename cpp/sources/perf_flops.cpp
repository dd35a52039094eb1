// FLOPs of this process on the CPU, counted by its performance monitoring unit. No joules.
#include "sources/perf_flops.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "sources/source.h"
#include "sources/sysfs.h"

namespace picojoule::perf_flops {
namespace {

constexpr std::int64_t kPaceNs = 100 * kNsPerMs;
constexpr std::uint32_t kRawType = 4;  // PERF_TYPE_RAW: the core PMU

std::optional<Cpu> cpu_of(const Environment& environment) {
    std::ifstream file(environment.procfs_root + "/cpuinfo");
    Cpu cpu;
    for (std::string text; std::getline(file, text) && !text.empty();) {  // the first CPU's lines
        const auto colon = text.find(':');
        if (colon == std::string::npos) continue;
        const std::string key = sysfs::trimmed(text.substr(0, colon));
        const std::string value = sysfs::trimmed(text.substr(std::min(colon + 2, text.size())));
        if (key == "vendor_id") cpu.vendor = value;
        const auto number = [&value](unsigned& to) {
            std::from_chars(value.data(), value.data() + value.size(), to);
        };
        if (key == "cpu family") number(cpu.family);
        if (key == "model") number(cpu.model);
    }
    const std::string pmu = environment.sysfs_root + "/bus/event_source/devices/cpu";
    cpu.pmu_name = sysfs::line(pmu + "/caps/pmu_name").value_or("");
    return cpu.vendor.empty() ? std::nullopt : std::optional(cpu);
}

class Flops final : public Source {
  public:
    struct Counter {
        UniqueFd fd;
        unsigned flops{};
        Count last{};
    };

    Flops(Channel channel, std::vector<Counter> counters)
        : channel_(std::move(channel)), counters_(std::move(counters)) {}

    [[nodiscard]] std::span<const Channel> channels() const noexcept override {
        return {&channel_, 1};
    }
    [[nodiscard]] std::int64_t pace_ns() const noexcept override { return kPaceNs; }

    ReadStatus read(std::span<RawValue> values) noexcept override {
        for (Counter& c : counters_) {
            Count now;
            const ssize_t got = ::read(c.fd.get(), &now, sizeof now);
            if (got != static_cast<ssize_t>(sizeof now)) {
                error_ = got < 0 ? errno : ENODEV;
                values[0] = {};
                return sysfs::status_of(error_);
            }
            const double counts = counted_since(c.last, now);
            if (counts <= 0.0) continue;
            total_ += counts * c.flops;
            c.last = now;
        }
        values[0] = {static_cast<std::uint64_t>(total_), true};
        return ReadStatus::ok;
    }

    [[nodiscard]] std::string failure() const override {
        return "perf event: " + std::generic_category().message(error_);
    }

  private:
    Channel channel_;
    std::vector<Counter> counters_;  // one for each thread and event
    double total_{};
    int error_{};
};

Finding refused(const Environment& environment, int error) {
    const std::string file = environment.procfs_root + "/sys/kernel/perf_event_paranoid";
    const std::string level = sysfs::line(file).value_or("unreadable");
    if (error == EACCES || error == EPERM) {
        if (level == "3" || level == "4") {
            return {Finding::State::refused, file,
                    "counting one's own threads needs 2 or less here (it is " + level + ")",
                    "sudo sysctl kernel.perf_event_paranoid=2"};
        }
        return {Finding::State::refused, "perf_event_open",
                "forbidden although " + file + " is " + level + ": a container's seccomp filter",
                "docker run --cap-add PERFMON"};
    }
    if (error == ENOENT || error == EOPNOTSUPP || error == ENODEV) {
        return {Finding::State::absent, "perf_event_open",
                "the kernel offers no counters of this CPU here (a virtual machine without a PMU?)",
                ""};
    }
    return {Finding::State::refused, "perf_event_open", std::generic_category().message(error), ""};
}

}  // namespace

std::vector<Event> events_of(const Cpu& cpu) {
    if (cpu.vendor == "GenuineIntel") {
        // FP_ARITH_INST_RETIRED: instructions, an FMA counted twice, so that what one count is
        // worth depends on width and precision alone. Umasks of equal worth count together. Hybrid
        // CPUs have two kinds of cores, and only one of them has this event.
        constexpr const char* kKnown[] = {"broadwell", "skylake", "icelake", "sapphire_rapids",
                                          "granite_rapids"};
        if (std::ranges::find(kKnown, cpu.pmu_name) == std::end(kKnown)) return {};
        constexpr std::uint64_t kEvent = 0xC7;
        const bool wide = cpu.pmu_name != "broadwell";  // 512 bits
        std::vector<Event> events = {
            {kEvent | 0x03U << 8U, 1},                   // scalar, double and single
            {kEvent | 0x04U << 8U, 2},                   // 128 bits, double
            {kEvent | 0x18U << 8U, 4},                   // 128 single, 256 double
            {kEvent | (wide ? 0x60U : 0x20U) << 8U, 8},  // 256 single, 512 double
        };
        if (wide) events.push_back({kEvent | 0x80U << 8U, 16});  // 512 single
        return events;
    }
    if (cpu.vendor == "AuthenticAMD") {
        // Retired SSE/AVX FLOPs: operations as they are, a multiply-add as two. The low bits of the
        // umask are add, multiply, divide and multiply-add; bit 4 is bfloat16 on Zen 4, and on Zen
        // 5 the upper bits choose a type, where none means all.
        const bool zen4 = cpu.family == 0x19 && ((cpu.model >= 0x10 && cpu.model <= 0x1f) ||
                                                 (cpu.model >= 0x60 && cpu.model <= 0xaf));
        if (cpu.family != 0x17 && cpu.family != 0x19 && cpu.family != 0x1a) return {};
        return {{0x03 | (zen4 ? 0x1fU : 0x0fU) << 8U, 1}};
    }
    return {};
}

perf_event_attr attributes_of(const Event& event, std::uint32_t pmu_type) {
    perf_event_attr a{};
    a.size = sizeof a;
    a.type = pmu_type;
    a.config = event.config;
    a.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
    a.inherit = 1;
    a.exclude_kernel = 1;
    a.exclude_hv = 1;
    return a;
}

double counted_since(const Count& before, const Count& now) noexcept {
    if (now.running_ns <= before.running_ns || now.value < before.value) return 0.0;
    const auto counts = static_cast<double>(now.value - before.value);
    const auto enabled = static_cast<double>(now.enabled_ns - before.enabled_ns);
    const auto running = static_cast<double>(now.running_ns - before.running_ns);
    return counts * std::max(1.0, enabled / running);
}

Discovery discover(const Environment& environment) {
    Discovery found;
    const auto cpu = cpu_of(environment);
    const std::vector<Event> events = cpu ? events_of(*cpu) : std::vector<Event>();
    if (events.empty()) {
        std::string which = cpu ? cpu->vendor + ", family " + std::to_string(cpu->family) +
                                      ", model " + std::to_string(cpu->model)
                                : "unnamed in cpuinfo";
        if (cpu && !cpu->pmu_name.empty()) which += ", PMU " + cpu->pmu_name;
        found.findings.push_back(
            {Finding::State::absent, "CPU",
             "no event is known that counts the FLOPs of this CPU (" + which + ")", ""});
        return found;
    }
    // Threads that run already, each by itself; those to come inherit from who starts them.
    std::vector<Flops::Counter> counters;
    int error = 0;
    for (const std::string& thread : sysfs::names("/proc/self/task")) {
        pid_t id{};
        std::from_chars(thread.data(), thread.data() + thread.size(), id);
        for (const Event& event : events) {
            perf_event_attr attributes = attributes_of(event, kRawType);
            UniqueFd fd(static_cast<int>(
                ::syscall(SYS_perf_event_open, &attributes, id, -1, -1, PERF_FLAG_FD_CLOEXEC)));
            if (!fd) {
                if (errno == ESRCH) break;  // the thread has ended meanwhile
                error = errno;
                continue;
            }
            counters.push_back({std::move(fd), event.flops, {}});
        }
    }
    // Half of the events would be half of the FLOPs, and look like all of them.
    if (error != 0 || counters.empty()) {
        found.findings.push_back(refused(environment, error));
        return found;
    }
    Channel c;
    c.meter = "perf_flops";
    c.domain = "cpu";
    c.field = "retired_flop";
    c.device = sysfs::cpu_model(environment);
    c.note =
        "this process and what it starts, in user mode, SSE and AVX only; scaled up where the "
        "kernel let several events share a counter";
    c.quantity = Quantity::count;
    c.provenance = Provenance::counted;
    c.in_total = false;
    c.update_period_ns = kPaceNs;
    c.unit = 1.0;
    found.findings.push_back({Finding::State::works, "perf events", c.note, ""});
    found.sources.push_back(std::make_unique<Flops>(std::move(c), std::move(counters)));
    return found;
}

}  // namespace picojoule::perf_flops
