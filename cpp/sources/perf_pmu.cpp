#include "sources/perf_pmu.h"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <string_view>

#include "sources/sysfs.h"

namespace picojoule::perf {

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

UniqueFd open_event(std::uint32_t type, std::uint64_t config, int cpu, std::uint64_t read_format) {
    perf_event_attr attributes{};
    attributes.size = sizeof attributes;
    attributes.type = type;
    attributes.config = config;
    attributes.read_format = read_format;
    return UniqueFd(static_cast<int>(
        ::syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
}

Finding whole_machine_refused(const Environment& environment) {
    const std::string paranoid = environment.procfs_root + "/sys/kernel/perf_event_paranoid";
    const std::string level = sysfs::line(paranoid).value_or("unreadable");
    if (level == "0" || level.starts_with('-')) {
        return {
            Finding::State::refused, "perf_event_open",
            "forbidden although " + paranoid + " is " + level + ": a container's seccomp filter",
            "docker run --cap-add PERFMON"};
    }
    return {
        Finding::State::refused, paranoid,
        "perf events of the whole machine need 0 or less here (it is " + level + ") or CAP_PERFMON",
        "sudo sysctl kernel.perf_event_paranoid=0"};
}

}  // namespace picojoule::perf
