#include <doctest/doctest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <thread>

#include "base/clock.h"
#include "fake_tree.h"

using namespace picojoule;
using namespace picojoule::testing;

namespace {

constexpr const char* kWatts = "PICOJOULE_CPU_WATTS_PER_CORE";
constexpr double kTick = 0.01;  // a live process's CPU time is told in these

std::unique_ptr<Source> open_source(const Environment& environment = {}) {
    ::unsetenv(kWatts);
    Discovery found = factory("cpu_estimate").discover(environment);
    REQUIRE(found.sources.size() == 1);
    return std::move(found.sources[0]);
}

// CPU seconds that the counter stands at; checks that it never goes back.
class Reader {
  public:
    explicit Reader(Source& source) : source_(source) { seconds(); }
    double seconds() {
        RawValue value[1];
        REQUIRE(source_.read(value) == ReadStatus::ok);
        REQUIRE(value[0].valid);
        REQUIRE(value[0].raw >= last_);
        last_ = value[0].raw;
        return static_cast<double>(last_) * 1e-9;
    }
    // As above, after the next search for descendants.
    double searched_seconds() {
        ::usleep(150'000);
        return seconds();
    }

  private:
    Source& source_;
    std::uint64_t last_{};
};

double own_seconds() { return static_cast<double>(clock_ns(CLOCK_PROCESS_CPUTIME_ID)) * 1e-9; }

void burn(double seconds) {
    const double until = own_seconds() + seconds;
    volatile unsigned sink = 0;
    while (own_seconds() < until) {
        for (unsigned i = 0; i < 20'000; ++i) sink = sink + i;
    }
}

// Blocks until the other end of a pipe writes or closes.
void await(int fd) {
    char byte{};
    static_cast<void>(::read(fd, &byte, 1));
}

// A child that burns, says so, and stays until it is told to go.
class Child {
  public:
    template <class F>
    explicit Child(F work) {
        REQUIRE(::pipe(done_) == 0);
        REQUIRE(::pipe(go_) == 0);
        pid_ = ::fork();
        REQUIRE(pid_ >= 0);
        if (pid_ == 0) {
            ::close(go_[1]);
            work();
            static_cast<void>(!::write(done_[1], "x", 1));
            await(go_[0]);
            ::_exit(0);
        }
        ::close(done_[1]);
        ::close(go_[0]);
        await(done_[0]);
    }
    void leave() {
        ::close(go_[1]);
        ::waitpid(pid_, nullptr, 0);
    }
    void close_rest() { ::close(done_[0]); }
    // Gone, but not waited for.
    void leave_unwaited() {
        ::close(go_[1]);
        siginfo_t info{};
        ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
    }
    void reap() const { ::waitpid(pid_, nullptr, 0); }

  private:
    int done_[2]{};
    int go_[2]{};
    pid_t pid_{};
};

std::string stat_line(int pid, int ppid, int utime, int stime, int cutime, int start) {
    return std::to_string(pid) + " (a (b) c) S " + std::to_string(ppid) +
           " 1 1 0 -1 4194304 1 2 3 4 " + std::to_string(utime) + " " + std::to_string(stime) + " " +
           std::to_string(cutime) + " 0 20 0 1 0 " + std::to_string(start) + " 1000 10 18446744073709551615\n";
}

}  // namespace

TEST_CASE("cpu_estimate: says that it is an estimate, and how wide") {
    const auto source = open_source();
    const Channel& c = source->channels()[0];
    CHECK(c.domain == "cpu");
    CHECK(c.field == "energy");
    CHECK(c.meter == "cpu_estimate");
    CHECK(c.provenance == Provenance::estimated);
    CHECK(c.in_total);
    CHECK_FALSE(c.latched);
    CHECK(c.unit == doctest::Approx(5e-9));
    CHECK(c.note.find("estimate") != std::string::npos);
    // 95 % of the log-normal lie within a factor of 2.5.
    const double sigma = std::sqrt(std::log1p(c.gain_std * c.gain_std));
    CHECK(std::exp(1.96 * sigma) == doctest::Approx(2.5));
    CHECK(factory("cpu_estimate").by_default == SourceFactory::Default::fallback);
    const Discovery found = factory("cpu_estimate").discover({});
    REQUIRE(found.findings.size() == 1);
    CHECK(found.findings[0].state == Finding::State::works);
    CHECK(found.findings[0].why.find("an estimate, no measurement: ") == 0);
}

TEST_CASE("cpu_estimate: watts from the environment, where they make sense") {
    struct Row {
        const char* text;
        double watts;  // 0: refused
    };
    for (const Row& r : {Row{"7.5", 7.5}, Row{"0.05", 0.05}, Row{"100", 100}, Row{"0.04", 0},
                         Row{"101", 0}, Row{"-5", 0}, Row{"5W", 0}, Row{"nan", 0}, Row{"inf", 0},
                         Row{" ", 0}}) {
        CAPTURE(r.text);
        ::setenv(kWatts, r.text, 1);
        const Discovery found = factory("cpu_estimate").discover({});
        ::unsetenv(kWatts);
        REQUIRE(found.sources.size() == 1);
        const Channel& c = found.sources[0]->channels()[0];
        CHECK(c.unit == doctest::Approx((r.watts > 0 ? r.watts : 5.0) * 1e-9));
        CHECK(count(found, Finding::State::refused) == (r.watts > 0 ? 0 : 1));
        CHECK(count(found, Finding::State::works) == 1);
        if (r.watts > 0) CHECK(c.gain_std == doctest::Approx(0.2));
    }
}

TEST_CASE("cpu_estimate: counts our own CPU time, and none while we sleep") {
    const auto source = open_source();
    Reader reader(*source);
    const double start = reader.seconds();
    burn(0.1);
    const double burnt = reader.seconds();
    CHECK(burnt - start == doctest::Approx(0.1).epsilon(0.2));
    ::usleep(100'000);
    CHECK(reader.seconds() - burnt < 0.05);
}

TEST_CASE("cpu_estimate: a child counts while it lives, as a zombie, and once after it") {
    const auto source = open_source();
    Reader reader(*source);
    const double start = reader.seconds() - own_seconds();
    Child child([] { burn(0.2); });
    const double alive = reader.searched_seconds() - own_seconds();
    CHECK(std::abs(alive - start - 0.2) < 3 * kTick);
    child.leave_unwaited();
    const double zombie = reader.seconds() - own_seconds();
    CHECK(std::abs(zombie - start - 0.2) < 3 * kTick);
    child.reap();
    for (int i = 0; i < 5; ++i) {
        const double waited = reader.searched_seconds() - own_seconds();
        CHECK(std::abs(waited - start - 0.2) < 3 * kTick);
    }
    child.close_rest();
}

TEST_CASE("cpu_estimate: grandchildren count once, alive and waited for") {
    const auto source = open_source();
    Reader reader(*source);
    const double start = reader.seconds() - own_seconds();
    Child family([] {
        burn(0.1);
        Child dead([] { burn(0.1); });
        dead.leave();
        const Child alive([] { burn(0.1); });  // until its parent goes, and with it the pipe
    });
    const double alive = reader.searched_seconds() - own_seconds();
    CHECK(std::abs(alive - start - 0.3) < 6 * kTick);
    const double still = reader.searched_seconds() - own_seconds();
    CHECK(std::abs(still - start - 0.3) < 6 * kTick);
    family.leave();
    family.close_rest();
}

// The counter holds its maximum, so that a child once in it twice would stay in it twice.
TEST_CASE("cpu_estimate: children that come and go while it reads count once each") {
    const auto source = open_source();
    const auto own_and_waited = [] {
        rusage u{};
        ::getrusage(RUSAGE_CHILDREN, &u);
        return own_seconds() + static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
    };
    RawValue value[1];
    source->read(value);
    const double offset = static_cast<double>(value[0].raw) * 1e-9 - own_and_waited();
    std::atomic<bool> stop{false};
    std::atomic<unsigned> backwards{0};
    std::thread reads([&] {
        std::uint64_t last = 0;
        while (!stop) {
            RawValue now[1];
            source->read(now);
            if (now[0].raw < last) ++backwards;
            last = now[0].raw;
            ::usleep(500);
        }
    });
    for (int i = 0; i < 25; ++i) {
        const pid_t pid = ::fork();
        if (pid == 0) {
            const pid_t grandchild = ::fork();
            burn(0.02);
            if (grandchild > 0) ::waitpid(grandchild, nullptr, 0);
            ::_exit(0);
        }
        ::waitpid(pid, nullptr, 0);
    }
    stop = true;
    reads.join();
    source->read(value);
    CHECK(backwards == 0);
    const double excess = static_cast<double>(value[0].raw) * 1e-9 - offset - own_and_waited();
    CHECK(std::abs(excess) < 3 * kTick);
}

TEST_CASE("cpu_estimate: a child that nobody waits for neither takes back nor stalls the counter") {
    const auto source = open_source();
    Reader reader(*source);
    const double start = reader.seconds() - own_seconds();
    ::signal(SIGCHLD, SIG_IGN);
    Child child([] { burn(0.3); });
    const double alive = reader.searched_seconds() - own_seconds();
    CHECK(std::abs(alive - start - 0.3) < 3 * kTick);
    child.leave();  // waits until it is gone; its time is told to nobody
    ::signal(SIGCHLD, SIG_DFL);
    for (int i = 0; i < 4; ++i) reader.seconds();
    const double before = reader.seconds();
    burn(0.1);
    CHECK(reader.seconds() - before == doctest::Approx(0.1).epsilon(0.2));
    child.close_rest();
}

TEST_CASE("cpu_estimate: the lists of children, where the kernel has them") {
    FakeTree tree;
    tree.link("proc/self", "100");
    tree.write("proc/100/task/100/children", "101 ");
    tree.write("proc/100/task/107/children", "102 103 ");
    tree.write("proc/101/task/101/children", "");
    tree.write("proc/102/task/102/children", "104");
    tree.write("proc/101/stat", stat_line(101, 100, 1000, 500, 0, 7));
    tree.write("proc/102/stat", stat_line(102, 100, 0, 0, 2000, 7));
    tree.write("proc/104/stat", stat_line(104, 102, 3000, 0, 0, 8));
    tree.write("proc/999/stat", stat_line(999, 1, 9000000, 0, 0, 1));  // a stranger
    tree.write("proc/103/other", "");                                  // gone while we looked
    const double hz = static_cast<double>(::sysconf(_SC_CLK_TCK));
    const auto source = open_source(tree.environment());
    Reader reader(*source);
    CHECK(reader.seconds() - own_seconds() == doctest::Approx(6500 / hz).epsilon(0.05));

    tree.write("proc/104/stat", stat_line(104, 102, 5000, 0, 0, 8));
    CHECK(reader.seconds() - own_seconds() == doctest::Approx(8500 / hz).epsilon(0.05));

    // 104 exits and 102 waits for it.
    tree.write("proc/102/task/102/children", "");
    tree.write("proc/102/stat", stat_line(102, 100, 0, 0, 7000, 7));
    tree.remove("proc/104");
    CHECK(reader.searched_seconds() - own_seconds() == doctest::Approx(8500 / hz).epsilon(0.05));

    // 101's number goes to a stranger with a long past: that is no time of ours.
    tree.write("proc/101/stat", stat_line(101, 1, 8000000, 0, 0, 99));
    tree.write("proc/100/task/100/children", "");
    CHECK(reader.seconds() - own_seconds() < 9000 / hz);
    CHECK(reader.searched_seconds() - own_seconds() < 9000 / hz);
}

TEST_CASE("cpu_estimate: without the lists, everyone's parent tells") {
    FakeTree tree;
    tree.link("proc/self", "100");
    tree.write("proc/100/stat", stat_line(100, 1, 77777, 0, 0, 5));
    tree.write("proc/90/stat", stat_line(90, 300, 10000, 0, 0, 9));  // a grandchild, listed first
    tree.write("proc/300/stat", stat_line(300, 100, 20000, 0, 40000, 9));
    tree.write("proc/400/stat", stat_line(400, 1, 500000, 0, 0, 9));
    tree.write("proc/meminfo", "");
    const double hz = static_cast<double>(::sysconf(_SC_CLK_TCK));
    const auto source = open_source(tree.environment());
    Reader reader(*source);
    CHECK(reader.seconds() - own_seconds() == doctest::Approx(70000 / hz).epsilon(0.05));
}

TEST_CASE("cpu_estimate: without /proc it counts ourselves and those waited for") {
    Environment environment;
    environment.procfs_root = "/nonexistent";
    const auto source = open_source(environment);
    Reader reader(*source);
    const double start = reader.seconds() - own_seconds();
    Child child([] { burn(0.1); });
    child.leave();
    child.close_rest();
    CHECK(std::abs(reader.seconds() - own_seconds() - start - 0.1) < 3 * kTick);
}
