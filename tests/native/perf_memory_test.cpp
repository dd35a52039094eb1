#include "sources/perf_memory.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "base/clock.h"
#include "fake_tree.h"

using namespace picojoule;
using namespace picojoule::testing;

namespace {

const std::string kDevices = "sys/bus/event_source/devices/";

void controller(const FakeTree& tree, const std::string& pmu, const std::string& reads,
                const std::string& writes, const std::string& event = "event=0x04,umask=0x03") {
    const std::string folder = kDevices + pmu + "/";
    tree.write(folder + "type", "1\n");
    tree.write(folder + "cpumask", "0\n");
    for (const std::string& name : {reads, writes}) {
        tree.write(folder + "events/" + name, event + "\n");
        tree.write(folder + "events/" + name + ".scale", "6.103515625e-5\n");
        tree.write(folder + "events/" + name + ".unit", "MiB\n");
    }
}

Discovery discover(const FakeTree& tree) {
    return factory("perf_memory").discover(tree.environment());
}

}  // namespace

TEST_CASE("perf_memory: a count of Intel's controllers is a cache line") {
    const FakeTree tree;
    controller(tree, "uncore_imc_0", "cas_count_read", "cas_count_write");
    controller(tree, "uncore_imc_11", "cas_count_read", "cas_count_write");
    // The same bytes once more, by counters that run free: not added.
    controller(tree, "uncore_imc_free_running_0", "data_read", "data_write");
    const auto events = perf_memory::events_of(tree.environment());
    REQUIRE(events.size() == 4);
    for (const auto& e : events) {
        CHECK(e.bytes == 64.0);
        CHECK(e.config == 0x0304);
        CHECK(e.pmu.find("free") == std::string::npos);
    }
    CHECK(std::count_if(events.begin(), events.end(), [](const auto& e) { return e.writes; }) == 2);
}

TEST_CASE("perf_memory: clients have other names for them") {
    const FakeTree tree;
    controller(tree, "uncore_imc_free_running_0", "data_read", "data_write");
    CHECK(perf_memory::events_of(tree.environment()).size() == 2);
    controller(tree, "uncore_imc", "data_reads", "data_writes");
    const auto events = perf_memory::events_of(tree.environment());
    REQUIRE(events.size() == 2);
    CHECK(events[0].pmu == "uncore_imc");
}

TEST_CASE("perf_memory: AMD's controllers tell reads from writes by a mask") {
    const FakeTree tree;
    tree.write(kDevices + "amd_umc_0/type", "31\n");
    tree.write(kDevices + "amd_umc_0/cpumask", "0\n");
    tree.write(kDevices + "amd_umc_0/format/rdwrmask", "config:8-9\n");
    const auto events = perf_memory::events_of(tree.environment());
    REQUIRE(events.size() == 2);
    CHECK(events[0].config == 0x10a);
    CHECK(events[1].config == 0x20a);
    CHECK(events[1].writes);
    CHECK(events[1].bytes == 64.0);
    tree.write(kDevices + "amd_umc_0/format/rdwrmask", "config:16-17\n");  // not what is known
    CHECK(perf_memory::events_of(tree.environment()).empty());
}

TEST_CASE("perf_memory: an event in an unknown unit is left out") {
    const FakeTree tree;
    controller(tree, "uncore_imc_0", "cas_count_read", "cas_count_write");
    tree.write(kDevices + "uncore_imc_0/events/cas_count_read.unit", "Lines\n");
    const auto events = perf_memory::events_of(tree.environment());
    REQUIRE(events.size() == 1);
    CHECK(events[0].writes);
}

// The kernel's software PMU (type 1, event 0: the CPU clock in ns) stands for a controller.
TEST_CASE("perf_memory: controllers of a package add up, or one finding says why not") {
    const FakeTree tree;
    controller(tree, "uncore_imc_0", "cas_count_read", "cas_count_write", "event=0x00");
    controller(tree, "uncore_imc_1", "cas_count_read", "cas_count_write", "event=0x00");
    tree.write("sys/devices/system/cpu/cpu0/topology/physical_package_id", "2\n");
    const Discovery d = discover(tree);
    REQUIRE(d.findings.size() == 1);
    if (d.sources.empty()) {
        CHECK(d.findings[0].state == Finding::State::refused);
        return;
    }
    Source& source = *d.sources[0];
    REQUIRE(source.channels().size() == 2);
    CHECK(source.channels()[0].domain == "cpu:2");
    CHECK(source.channels()[0].field == "dram_read_bytes");
    CHECK(source.channels()[1].field == "dram_write_bytes");
    CHECK_FALSE(source.channels()[0].in_total);
    CHECK(source.channels()[0].quantity == Quantity::count);
    RawValue before[2];
    RawValue after[2];
    const std::int64_t outer_begin = now_ns();
    REQUIRE(source.read(before) == ReadStatus::ok);
    const std::int64_t inner_begin = now_ns();
    ::usleep(20000);
    const std::int64_t inner_end = now_ns();
    REQUIRE(source.read(after) == ReadStatus::ok);
    const std::int64_t outer_end = now_ns();
    // Two controllers of 64 bytes a nanosecond. They are read one after the other, at moments of
    // their own; the kernel's clock is not ours to a few parts in a thousand.
    const auto bytes = static_cast<double>(after[0].raw - before[0].raw);
    CHECK(bytes >= 0.99 * 2 * 64 * static_cast<double>(inner_end - inner_begin));
    CHECK(bytes <= 1.01 * 2 * 64 * static_cast<double>(outer_end - outer_begin));
}

TEST_CASE("perf_memory: without controllers there is one finding, and only on request") {
    const FakeTree tree;
    CHECK(factory("perf_memory").by_default == SourceFactory::Default::on_request);
    const Discovery d = discover(tree);
    CHECK(d.sources.empty());
    REQUIRE(d.findings.size() == 1);
    CHECK(d.findings[0].state == Finding::State::absent);
}
