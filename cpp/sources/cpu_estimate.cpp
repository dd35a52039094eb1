// Where nothing measures the CPU: CPU time of the process tree, times watts per busy core. An
// estimate, always there, and never more certain than it says.
//
// Published figures for one busy core or vCPU:
//   2.1 W        per vCPU, average server load: Etsy, Cloud Jewels (2020), 2.10 Wh per vCPU hour
//   3.5..4.3 W   per vCPU at full load (0.7..0.8 W idle), from SPECpower results: Cloud Carbon
//                Footprint, Methodology, averages or medians of AWS (3.5), Azure (3.76), GCP
//                (4.26); a vCPU is half a core on most of these, so 7..8.5 W for a core with both
//                halves busy
//   12 W         per core of an unknown CPU: Green Algorithms, data/latest/TDP_cpu.csv, "Any"
//                (Lannelongue et al., Adv. Sci. 2021, doi:10.1002/advs.202100707); 3.8..24 W by
//                model
// The middle of 2.1 and 12 on a logarithmic scale is 5.0, a factor of 2.4 from both. Hence 5 W, and
// a log-normal doubt of which 95 % lie within a factor of 2.5 (2..12.5 W).
//
// CPU time is a sum of states, S = own + waited-for children + (live descendants, with the children
// that they waited for). A child that exits and is waited for moves from the last term to the ones
// before it and S stays as it was: nothing counts twice. Each read goes from parents to children,
// so a child that exits in between is missing for one read and never in S twice. A child that
// nobody waits for (SIGCHLD ignored) or that init adopts leaves S for good: once a deficit has
// lasted a few reads it is taken for lost and the counter goes on from where it was. The counter
// never decreases.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "sources/source.h"
#include "sources/superchip.h"

namespace picojoule {
namespace {

constexpr double kWattsPerCore = 5.0;
constexpr double kFactor = 2.5;  // 95 % lie within this factor, either way
constexpr double kGivenGainStd = 0.2;
constexpr const char* kWattsVariable = "PICOJOULE_CPU_WATTS_PER_CORE";

constexpr std::int64_t kSearchNs = 100 * kNsPerMs;
// A search of /proc costs about 10 us a process; this bounds its share of one core.
constexpr std::int64_t kSearchShare = 50;
constexpr unsigned kLostAfterReads = 3;
constexpr std::size_t kMaxDescendants = 1024;
constexpr std::size_t kMaxProcesses = 8192;

// Relative standard deviation of a log-normal of which 95 % lie within `factor` of the median.
double lognormal_std(double factor) {
    const double sigma = std::log(factor) / 1.96;
    return std::sqrt(std::expm1(sigma * sigma));
}

template <class Integer>
const char* parse(const char* from, const char* end, Integer& value) noexcept {
    while (from != end && *from == ' ') ++from;
    return std::from_chars(from, end, value).ptr;
}

struct ProcessStat {
    int ppid{};
    std::uint64_t ticks{};  // its own, and of the children that it waited for
    std::uint64_t start{};
};

// Calls f with every number that names an entry of an open directory. opendir() would allocate.
template <class F>
void each_number(int directory, F f) noexcept {
    alignas(std::uint64_t) char buffer[8192];
    // struct linux_dirent64: u64 inode, s64 offset, u16 length, u8 type, name
    constexpr std::size_t kLengthAt = 16;
    constexpr std::size_t kNameAt = 19;
    while (true) {
        const long got = ::syscall(SYS_getdents64, directory, buffer, sizeof buffer);
        if (got <= 0) return;
        for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
            std::uint16_t length{};
            std::memcpy(&length, buffer + at + kLengthAt, sizeof length);
            const char* name = buffer + at + kNameAt;
            int number{};
            const char* end = name + std::strlen(name);
            if (std::from_chars(name, end, number).ptr == end && number > 0) f(number);
            at += length;
        }
    }
}

class ProcessTree {
  public:
    explicit ProcessTree(const std::string& procfs_root)
        : root_(::open(procfs_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
          ns_per_tick_(static_cast<std::uint64_t>(kNsPerS / std::max(1L, ::sysconf(_SC_CLK_TCK)))) {
        const int self = self_pid();
        char path[64];
        std::snprintf(path, sizeof path, "%d/task/%d/children", self, self);
        lists_children_ = root_ && ::faccessat(root_.get(), path, R_OK, 0) == 0;
    }

    // Looks for new descendants where that is due.
    void refresh() noexcept {
        const std::int64_t now = now_ns();
        if (now < search_ns_) return;
        search();
        search_ns_ = now + std::max(kSearchNs, (now_ns() - now) * kSearchShare);
    }

    // CPU time of everything below this process that is alive or not yet waited for.
    std::uint64_t live_ns() noexcept {
        std::uint64_t ticks = 0;
        std::size_t kept = 0;
        for (std::size_t i = 0; i < count_; ++i) {
            ProcessStat stat;
            // Another start time: another process, which got the number of one that is no more.
            if (!read_stat(found_[i].pid, stat) || stat.start != found_[i].start) continue;
            ticks += stat.ticks;
            found_[kept++] = found_[i];
        }
        count_ = kept;
        return ticks * ns_per_tick_;
    }

  private:
    struct Descendant {
        int pid;
        std::uint64_t start;
    };
    struct Process {
        int pid;
        int ppid;
        std::uint64_t start;
    };

    // Our number as that /proc counts, which may be the host's.
    int self_pid() const noexcept {
        char link[32];
        const ssize_t got = root_ ? ::readlinkat(root_.get(), "self", link, sizeof link) : -1;
        int pid{};
        if (got > 0 && std::from_chars(link, link + got, pid).ptr == link + got) return pid;
        return ::getpid();
    }

    bool read_stat(int pid, ProcessStat& stat) const noexcept {
        char buffer[1024];
        std::snprintf(buffer, sizeof buffer, "%d/stat", pid);
        const UniqueFd file(::openat(root_.get(), buffer, O_RDONLY | O_CLOEXEC));
        const ssize_t got = file ? ::pread(file.get(), buffer, sizeof buffer, 0) : -1;
        if (got <= 0) return false;
        const char* end = buffer + got;
        const char* at = end;
        while (at != buffer && at[-1] != ')') --at;  // the name before it may hold anything
        if (at == buffer || end - at < 4) return false;
        at = parse(at + 2 + 1, end, stat.ppid);  // over " S"
        // Numbered as in proc(5): 4 is ppid, 14..17 the times, 22 the start.
        stat.ticks = 0;
        for (int field = 5; field <= 22; ++field) {
            std::int64_t value{};
            const char* next = parse(at, end, value);
            if (next == at) return false;
            at = next;
            if (field >= 14 && field <= 17) stat.ticks += static_cast<std::uint64_t>(value);
            if (field == 22) stat.start = static_cast<std::uint64_t>(value);
        }
        return true;
    }

    void add(int pid, std::uint64_t start) noexcept {
        if (count_ < kMaxDescendants) found_[count_++] = {pid, start};
    }

    void search() noexcept {
        count_ = 0;
        if (!root_) return;
        const int self = self_pid();
        if (lists_children_) {
            add_children(self);
            for (std::size_t i = 0; i < count_; ++i) add_children(found_[i].pid);
        } else {
            search_parents(self);
        }
    }

    void add_children(int pid) noexcept {
        char path[64];
        std::snprintf(path, sizeof path, "%d/task", pid);
        const UniqueFd threads(::openat(root_.get(), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!threads) return;
        each_number(threads.get(), [&](int tid) {
            std::snprintf(path, sizeof path, "%d/children", tid);
            const UniqueFd file(::openat(threads.get(), path, O_RDONLY | O_CLOEXEC));
            if (!file) return;
            char buffer[1024];
            int number = 0;
            while (true) {
                const ssize_t got = ::read(file.get(), buffer, sizeof buffer);
                if (got <= 0) break;
                for (ssize_t i = 0; i < got; ++i) {
                    const char c = buffer[i];
                    if (c >= '0' && c <= '9') {
                        number = number * 10 + (c - '0');
                        continue;
                    }
                    add_if_there(number);
                    number = 0;
                }
            }
            add_if_there(number);
        });
    }

    void add_if_there(int pid) noexcept {
        ProcessStat stat;
        if (pid > 0 && read_stat(pid, stat)) add(pid, stat.start);
    }

    // A kernel without the lists: everyone's parent, then those below us, level by level.
    void search_parents(int self) noexcept {
        const UniqueFd all(::openat(root_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!all) return;
        std::size_t known = 0;
        each_number(all.get(), [&](int pid) {
            ProcessStat stat;
            if (pid == self || known == kMaxProcesses || !read_stat(pid, stat)) return;
            processes_[known++] = {pid, stat.ppid, stat.start};
        });
        const auto children_of = [&](int parent) noexcept {
            for (std::size_t i = 0; i < known; ++i) {
                if (processes_[i].ppid == parent) add(processes_[i].pid, processes_[i].start);
            }
        };
        children_of(self);
        for (std::size_t i = 0; i < count_; ++i) children_of(found_[i].pid);
    }

    UniqueFd root_;
    std::uint64_t ns_per_tick_;
    bool lists_children_{};
    std::int64_t search_ns_{};
    std::size_t count_{};
    std::array<Descendant, kMaxDescendants> found_{};  // parents before their children
    std::array<Process, kMaxProcesses> processes_{};
};

class CpuEstimate final : public Source {
  public:
    CpuEstimate(const Environment& environment, double watts, double gain_std)
        : tree_(environment.procfs_root) {
        channel_.meter = "cpu_estimate";
        channel_.domain = "cpu";
        channel_.field = "energy";
        channel_.device = "CPU time of this process and its descendants";
        channel_.note =
            "an estimate, no measurement: CPU time times watts per busy core; readable "
            "RAPL counters give a measurement (`picojoule doctor` says how), and " +
            std::string(kWattsVariable) + " sets the watts";
        channel_.quantity = Quantity::energy;
        channel_.provenance = Provenance::estimated;
        channel_.latched = false;
        channel_.unit = watts * 1e-9;
        channel_.gain_std = gain_std;
        if (gpu_counts_cpu(environment)) {
            channel_.in_total = false;
            channel_.note += "; the GPU's own counter contains the CPU: not in the total";
        }
    }

    [[nodiscard]] std::span<const Channel> channels() const noexcept override {
        return {&channel_, 1};
    }

    ReadStatus read(std::span<RawValue> values) noexcept override {
        tree_.refresh();
        std::uint64_t sum = own_and_waited_ns() + lost_ns_;
        sum += tree_.live_ns();  // after it: a child that exits in between must not be in both
        if (sum >= counter_ns_) {
            counter_ns_ = sum;
            short_reads_ = 0;
        } else if (++short_reads_ >= kLostAfterReads) {
            lost_ns_ += counter_ns_ - sum;
            short_reads_ = 0;
        }
        values[0] = {counter_ns_, true};
        return ReadStatus::ok;
    }

  private:
    static std::uint64_t own_and_waited_ns() noexcept {
        rusage waited{};
        ::getrusage(RUSAGE_CHILDREN, &waited);
        const std::int64_t seconds = waited.ru_utime.tv_sec + waited.ru_stime.tv_sec;
        const std::int64_t micros = waited.ru_utime.tv_usec + waited.ru_stime.tv_usec;
        return static_cast<std::uint64_t>(clock_ns(CLOCK_PROCESS_CPUTIME_ID) + seconds * kNsPerS +
                                          micros * kNsPerUs);
    }

    Channel channel_;
    ProcessTree tree_;
    std::uint64_t counter_ns_{};
    std::uint64_t lost_ns_{};  // of descendants that left without being waited for
    unsigned short_reads_{};
};

std::string in_words(double watts) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", watts);
    return text;
}

}  // namespace

namespace cpu_estimate {

Discovery discover(const Environment& environment) {
    Discovery found;
    double watts = kWattsPerCore;
    double gain_std = lognormal_std(kFactor);
    std::string range =
        "95 % within " + in_words(watts / kFactor) + " to " + in_words(watts * kFactor) + " W";
    if (const char* text = std::getenv(kWattsVariable); text != nullptr && *text != '\0') {
        double given{};
        const char* end = text + std::strlen(text);
        const auto result = std::from_chars(text, end, given);
        if (result.ec == std::errc() && result.ptr == end && given >= 0.05 && given <= 100.0) {
            watts = given;
            gain_std = kGivenGainStd;
            range = std::string("from ") + kWattsVariable;
        } else {
            found.findings.push_back({Finding::State::refused, kWattsVariable,
                                      "\"" + std::string(text) +
                                          "\" is not a number of watts from 0.05 to 100; the "
                                          "default of " +
                                          in_words(watts) + " W is used",
                                      std::string("unset ") + kWattsVariable});
        }
    }
    found.sources.push_back(std::make_unique<CpuEstimate>(environment, watts, gain_std));
    found.findings.push_back({Finding::State::works, "CPU time",
                              "an estimate, no measurement: CPU time of the process tree times " +
                                  in_words(watts) + " W per busy core (" + range + ")",
                              ""});
    return found;
}

}  // namespace cpu_estimate
}  // namespace picojoule
