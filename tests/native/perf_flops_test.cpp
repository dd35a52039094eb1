#include "sources/perf_flops.h"

#include <doctest/doctest.h>

#include "fake_tree.h"

using namespace picojoule;
using namespace picojoule::testing;
using perf_flops::Cpu;

namespace {

// Value of the FLOPs of one instruction of each width, by what its umask bit says (Intel SDM).
unsigned worth(const std::vector<perf_flops::Event>& events, unsigned umask_bit) {
    unsigned flops = 0;
    for (const auto& e : events) {
        CHECK((e.config & 0xFFU) == 0xC7);
        if ((e.config >> 8U & umask_bit) != 0) flops += e.flops;
    }
    return flops;
}

}  // namespace

TEST_CASE("perf_flops: Intel, every width once and at its worth") {
    for (const char* pmu : {"skylake", "icelake", "sapphire_rapids", "granite_rapids"}) {
        const auto events = perf_flops::events_of(Cpu{"GenuineIntel", 6, 85, pmu});
        CHECK(events.size() == 5);
        CHECK(worth(events, 0x01) == 1);   // scalar double
        CHECK(worth(events, 0x02) == 1);   // scalar single
        CHECK(worth(events, 0x04) == 2);   // 128 bits of doubles
        CHECK(worth(events, 0x08) == 4);   // 128 bits of singles
        CHECK(worth(events, 0x10) == 4);   // 256 bits of doubles
        CHECK(worth(events, 0x20) == 8);   // 256 bits of singles
        CHECK(worth(events, 0x40) == 8);   // 512 bits of doubles
        CHECK(worth(events, 0x80) == 16);  // 512 bits of singles
    }
    const auto narrow = perf_flops::events_of(Cpu{"GenuineIntel", 6, 79, "broadwell"});
    CHECK(narrow.size() == 4);
    CHECK(worth(narrow, 0x20) == 8);
    CHECK(worth(narrow, 0xC0) == 0);
}

TEST_CASE("perf_flops: AMD, one event, whose umask depends on the generation") {
    struct Case {
        unsigned family, model, umask;
    };
    for (const Case& c : {Case{0x17, 0x01, 0x0f}, Case{0x17, 0x31, 0x0f}, Case{0x19, 0x01, 0x0f},
                          Case{0x19, 0x50, 0x0f}, Case{0x19, 0x11, 0x1f}, Case{0x19, 0x61, 0x1f},
                          Case{0x19, 0xa0, 0x1f}, Case{0x1a, 0x02, 0x0f}}) {
        const auto events = perf_flops::events_of(Cpu{"AuthenticAMD", c.family, c.model, ""});
        REQUIRE(events.size() == 1);
        CHECK(events[0].config == (0x03U | c.umask << 8U));
        CHECK(events[0].flops == 1);
    }
}

TEST_CASE("perf_flops: nothing is guessed of other CPUs") {
    for (const Cpu& cpu :
         {Cpu{"GenuineIntel", 6, 60, "haswell"}, Cpu{"GenuineIntel", 6, 151, "alderlake_hybrid"},
          Cpu{"GenuineIntel", 6, 85, ""}, Cpu{"AuthenticAMD", 0x15, 2, ""},
          Cpu{"AuthenticAMD", 0x1b, 2, ""}, Cpu{"HygonGenuine", 0x18, 1, ""}, Cpu{}}) {
        CHECK(perf_flops::events_of(cpu).empty());
    }
}

TEST_CASE("perf_flops: an event is of a thread, its children's too, and of user mode") {
    const auto a = perf_flops::attributes_of({0x0fc7, 4}, 4);
    CHECK(a.size == sizeof a);
    CHECK(a.type == 4);
    CHECK(a.config == 0x0fc7);
    CHECK(a.inherit == 1);
    CHECK(a.exclude_kernel == 1);
    CHECK(a.exclude_hv == 1);
    CHECK(a.disabled == 0);
    CHECK(a.read_format == (PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING));
    // The kernel gives what `Count` says, in that order, without a group.
    CHECK(sizeof(perf_flops::Count) == 24);
}

TEST_CASE("perf_flops: counts of an event that ran half of the time are doubled") {
    using perf_flops::counted_since;
    CHECK(counted_since({}, {100, 10, 10}) == 100.0);
    CHECK(counted_since({100, 10, 10}, {160, 30, 20}) == 120.0);
    CHECK(counted_since({100, 10, 10}, {100, 30, 10}) == 0.0);  // it did not run
    CHECK(counted_since({100, 10, 10}, {100, 30, 20}) == 0.0);
    // What ran unseen is made up for when it runs again, if the old count was kept.
    CHECK(counted_since({100, 10, 10}, {150, 60, 20}) == 250.0);
}

TEST_CASE("perf_flops: an unknown CPU is one finding that names it, and only on request") {
    FakeTree tree;
    tree.write("proc/cpuinfo", "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 151\n\n");
    tree.write("sys/bus/event_source/devices/cpu/caps/pmu_name", "alderlake_hybrid\n");
    const auto& made = factory("perf_flops");
    CHECK(made.by_default == SourceFactory::Default::on_request);
    const auto d = made.discover(tree.environment());
    CHECK(d.sources.empty());
    REQUIRE(d.findings.size() == 1);
    CHECK(d.findings[0].state == Finding::State::absent);
    CHECK(d.findings[0].why.find("family 6, model 151, PMU alderlake_hybrid") != std::string::npos);
}

TEST_CASE("perf_flops: here it works, or one finding says why not") {
    const auto d = factory("perf_flops").discover(Environment{});
    REQUIRE(d.findings.size() == 1);
    CHECK(d.sources.empty() == (d.findings[0].state != Finding::State::works));
    CHECK_FALSE(d.findings[0].why.empty());
    if (d.sources.empty()) return;
    const auto channels = d.sources[0]->channels();
    REQUIRE(channels.size() == 1);
    CHECK(channels[0].quantity == Quantity::count);
    CHECK_FALSE(channels[0].in_total);
    RawValue before, after;
    REQUIRE(d.sources[0]->read({&before, 1}) == ReadStatus::ok);
    volatile double x = 1.0;
    for (int i = 0; i < 1'000'000; ++i) x = x * 1.0000001;
    REQUIRE(d.sources[0]->read({&after, 1}) == ReadStatus::ok);
    CHECK(after.raw - before.raw >= 1'000'000);
    CHECK(after.raw - before.raw < 1'200'000);
}
