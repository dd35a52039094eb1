#include <doctest/doctest.h>
#include <unistd.h>

#include <set>

#include "base/clock.h"
#include "base/counter.h"
#include "fake_tree.h"

using namespace picojoule;
using namespace picojoule::testing;

namespace {

const std::string kPowercap = "sys/class/powercap/";
const std::string kPmu = "sys/bus/event_source/devices/power/";

void zone(const FakeTree& tree, const std::string& entry, const std::string& name,
          const std::string& energy, const std::string& range = "262143328850") {
    tree.write(kPowercap + entry + "/name", name + "\n");
    tree.write(kPowercap + entry + "/energy_uj", energy + "\n");
    tree.write(kPowercap + entry + "/max_energy_range_uj", range + "\n");
}

void two_packages(const FakeTree& tree) {
    tree.write(kPowercap + "intel-rapl/enabled", "1\n");
    zone(tree, "intel-rapl:0", "package-0", "1000");
    zone(tree, "intel-rapl:0:0", "core", "300");
    zone(tree, "intel-rapl:0:1", "uncore", "100");
    zone(tree, "intel-rapl:0:2", "dram", "50", "65712999613");
    zone(tree, "intel-rapl:1", "package-1", "2000");
    zone(tree, "intel-rapl:1:0", "dram", "70");
    zone(tree, "intel-rapl:2", "psys", "9000");
    zone(tree, "intel-rapl-mmio:0", "package-0", "1000");
}

void pmu(const FakeTree& tree, const std::string& type) {
    tree.write(kPmu + "type", type + "\n");
    tree.write(kPmu + "cpumask", "0\n");
    tree.write(kPmu + "events/energy-pkg", "event=0x00\n");
    tree.write(kPmu + "events/energy-pkg.scale", "2.3283064365386962890625e-10\n");
    tree.write(kPmu + "events/energy-pkg.unit", "Joules\n");
    tree.write(kPmu + "events/energy-ram", "event=0x00\n");
    tree.write(kPmu + "events/energy-ram.scale", "6.103515625e-05\n");
}

Discovery discover(const FakeTree& tree) {
    return factory("rapl").discover(tree.environment());
}

// Root reads everything; a test of closed files has to be somebody else.
class Nobody {
  public:
    Nobody() : changed_(::geteuid() == 0 && ::seteuid(65534) == 0) {}
    ~Nobody() {
        if (changed_) static_cast<void>(::seteuid(0));
    }

  private:
    bool changed_;
};

}  // namespace

TEST_CASE("rapl: domains, what is in the total, units and moduli") {
    FakeTree tree;
    two_packages(tree);
    const Discovery found = discover(tree);
    REQUIRE(found.sources.size() == 1);
    CHECK(count(found, Finding::State::refused) == 0);
    const Source& source = *found.sources[0];
    CHECK(source.channels().size() == 7);
    struct Row {
        const char* domain;
        bool in_total;
    };
    for (const Row& r : {Row{"cpu:0/package", true}, Row{"cpu:0/core", false},
                         Row{"cpu:0/uncore", false}, Row{"cpu:0/dram", true},
                         Row{"cpu:1/package", true}, Row{"cpu:1/dram", true}, Row{"psys", false}}) {
        CAPTURE(r.domain);
        const Channel* c = find_channel(source, r.domain);
        REQUIRE(c != nullptr);
        CHECK(c->meter == "rapl");
        CHECK(c->field == "energy");
        CHECK(c->in_total == r.in_total);
        CHECK(c->latched);
        CHECK(c->quantity == Quantity::energy);
        CHECK(c->provenance == Provenance::measured);
        CHECK(c->unit == doctest::Approx(1e-6));
        CHECK(c->update_period_ns == kNsPerMs);
        CHECK(c->gain_std == doctest::Approx(0.05));
    }
    CHECK(find_channel(source, "cpu:0/package")->wrap_at == 262143328851);
    CHECK(find_channel(source, "cpu:0/dram")->wrap_at == 65712999614);
}

TEST_CASE("rapl: two dies of one package are two domains") {
    FakeTree tree;
    zone(tree, "intel-rapl:0", "package-0-die-0", "1");
    zone(tree, "intel-rapl:0:0", "dram", "2");
    zone(tree, "intel-rapl:1", "package-0-die-1", "3");
    zone(tree, "intel-rapl:1:0", "dram", "4");
    const Discovery found = discover(tree);
    REQUIRE(found.sources.size() == 1);
    std::set<std::string> domains;
    for (const Channel& c : found.sources[0]->channels()) domains.insert(c.domain);
    CHECK(domains == std::set<std::string>{"cpu:0/package-die-0", "cpu:0/dram-die-0",
                                           "cpu:0/package-die-1", "cpu:0/dram-die-1"});
}

TEST_CASE("rapl: no domain twice") {
    FakeTree tree;
    zone(tree, "intel-rapl:0", "package-0", "1");
    zone(tree, "intel-rapl:1", "package-0", "1");
    const Discovery found = discover(tree);
    REQUIRE(found.sources.size() == 1);
    CHECK(found.sources[0]->channels().size() == 1);
    CHECK(count(found, Finding::State::refused) == 1);
}

TEST_CASE("rapl: reads follow the files, across a wrap") {
    FakeTree tree;
    zone(tree, "intel-rapl:0", "package-0", "262143328000");
    const Discovery found = discover(tree);
    REQUIRE(found.sources.size() == 1);
    Source& source = *found.sources[0];
    UnwrappedCounter counter(source.channels()[0].wrap_at);
    RawValue value[1];
    CHECK(source.read(value) == ReadStatus::ok);
    CHECK(value[0].valid);
    CHECK(value[0].raw == 262143328000);
    counter.update(value[0].raw);
    tree.write(kPowercap + "intel-rapl:0/energy_uj", "149\n");
    CHECK(source.read(value) == ReadStatus::ok);
    CHECK(counter.update(value[0].raw).event == CounterEvent::wrapped);
    CHECK(counter.total() == 1000);
}

TEST_CASE("rapl: one zone that fails takes no other with it") {
    FakeTree tree;
    two_packages(tree);
    const Discovery found = discover(tree);
    REQUIRE(found.sources.size() == 1);
    Source& source = *found.sources[0];
    std::vector<RawValue> values(source.channels().size());
    tree.write(kPowercap + "intel-rapl:0/energy_uj", "");
    CHECK(source.read(values) == ReadStatus::ok);
    std::size_t missing = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i].valid) continue;
        ++missing;
        CHECK(source.channels()[i].domain == "cpu:0/package");
    }
    CHECK(missing == 1);
    for (const char* entry : {"intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:0:2", "intel-rapl:1",
                              "intel-rapl:1:0", "intel-rapl:2"}) {
        tree.write(kPowercap + entry + "/energy_uj", "rubbish\n");
    }
    CHECK(source.read(values) == ReadStatus::retry);
    CHECK(source.failure().find("energy_uj") != std::string::npos);
}

TEST_CASE("rapl: a closed file is refused, with its name and one command") {
    FakeTree tree;
    two_packages(tree);
    for (const char* entry : {"intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:0:2",
                              "intel-rapl:1", "intel-rapl:1:0", "intel-rapl:2"}) {
        tree.mode(kPowercap + entry + "/energy_uj", 0400);
    }
    Discovery found;
    {
        const Nobody nobody;
        found = discover(tree);
    }
    if (::geteuid() != 0) return;  // the files are ours
    CHECK(found.sources.empty());
    REQUIRE(found.findings.size() == 1);
    const Finding& f = found.findings[0];
    CHECK(f.state == Finding::State::refused);
    CHECK(f.subject == tree.path(kPowercap + "intel-rapl:0/energy_uj"));
    CHECK(f.why.find("CVE-2020-8694") != std::string::npos);
    CHECK(f.remedy.find("sudo chmod a+r") == 0);
    CHECK(f.remedy.find('\n') == std::string::npos);
}

TEST_CASE("rapl: a file that is not there is refused without a remedy") {
    FakeTree tree;
    tree.write(kPowercap + "intel-rapl:0/name", "package-0\n");
    tree.link(kPowercap + "intel-rapl:0/energy_uj", "nowhere");
    const Discovery found = discover(tree);
    CHECK(found.sources.empty());
    REQUIRE(found.findings.size() == 1);
    CHECK(found.findings[0].state == Finding::State::refused);
    CHECK(found.findings[0].remedy.empty());
}

TEST_CASE("rapl: neither tree nor PMU is absent") {
    FakeTree tree;
    tree.write("sys/class/powercap/dtpm/enabled", "0\n");
    const Discovery found = discover(tree);
    CHECK(found.sources.empty());
    REQUIRE(found.findings.size() == 1);
    CHECK(found.findings[0].state == Finding::State::absent);
    CHECK(found.findings[0].why.find("virtual machine") != std::string::npos);
}

// The kernel's software PMU (type 1, event 0: the CPU clock) stands for the power PMU.
TEST_CASE("rapl: perf events, where the kernel grants them") {
    FakeTree tree;
    pmu(tree, "1");
    tree.write("sys/devices/system/cpu/cpu0/topology/physical_package_id", "3\n");
    const Discovery found = discover(tree);
    if (found.sources.empty()) {
        REQUIRE(found.findings.size() == 1);
        CHECK(found.findings[0].state == Finding::State::refused);
        return;
    }
    Source& source = *found.sources[0];
    REQUIRE(source.channels().size() == 2);
    const Channel* package = find_channel(source, "cpu:3/package");
    const Channel* dram = find_channel(source, "cpu:3/dram");
    REQUIRE(package != nullptr);
    REQUIRE(dram != nullptr);
    CHECK(package->unit == doctest::Approx(0x1p-32).epsilon(1e-12));
    CHECK(dram->unit == doctest::Approx(0x1p-14).epsilon(1e-12));
    CHECK(package->wrap_at == 0);
    CHECK(package->in_total);
    RawValue before[2];
    RawValue after[2];
    REQUIRE(source.read(before) == ReadStatus::ok);
    ::usleep(2000);
    REQUIRE(source.read(after) == ReadStatus::ok);
    CHECK(after[0].raw > before[0].raw);
}

TEST_CASE("rapl: refused perf events name the setting and its command") {
    FakeTree tree;
    pmu(tree, "1");
    tree.write("proc/sys/kernel/perf_event_paranoid", "2\n");
    Discovery found;
    {
        const Nobody nobody;
        found = discover(tree);
    }
    if (!found.sources.empty()) return;  // this machine grants them to everyone
    REQUIRE(found.findings.size() == 1);
    const Finding& f = found.findings[0];
    CHECK(f.state == Finding::State::refused);
    CHECK(f.subject == tree.path("proc/sys/kernel/perf_event_paranoid"));
    CHECK(f.why.find("it is 2") != std::string::npos);
    CHECK(f.remedy == "sudo sysctl kernel.perf_event_paranoid=0");
}

TEST_CASE("rapl: perf events that are refused in spite of the setting") {
    FakeTree tree;
    pmu(tree, "1");
    tree.write("proc/sys/kernel/perf_event_paranoid", "-1\n");
    Discovery found;
    {
        const Nobody nobody;
        found = discover(tree);
    }
    if (!found.sources.empty()) return;
    REQUIRE(found.findings.size() == 1);
    CHECK(found.findings[0].why.find("seccomp") != std::string::npos);
}

TEST_CASE("rapl: perf events of two packages, and of two dies of one") {
    if (::sysconf(_SC_NPROCESSORS_ONLN) < 2) return;
    struct Row {
        const char* package_of_1;
        const char* first;
        const char* second;
    };
    for (const Row& r : {Row{"1", "cpu:0/package", "cpu:1/package"},
                         Row{"0", "cpu:0/package-die-0", "cpu:0/package-die-1"}}) {
        FakeTree tree;
        pmu(tree, "1");
        tree.write(kPmu + "cpumask", "0-1\n");
        tree.write(kPmu + "events/energy-psys", "event=0x00\n");
        tree.write(kPmu + "events/energy-psys.scale", "1e-9\n");
        const std::string cpus = "sys/devices/system/cpu/cpu";
        tree.write(cpus + "0/topology/physical_package_id", "0\n");
        tree.write(cpus + "0/topology/die_id", "0\n");
        tree.write(cpus + "1/topology/physical_package_id", r.package_of_1);
        tree.write(cpus + "1/topology/die_id", "1\n");
        const Discovery found = discover(tree);
        if (found.sources.empty()) return;  // not granted here
        const Source& source = *found.sources[0];
        CHECK(source.channels().size() == 5);
        CHECK(find_channel(source, r.first) != nullptr);
        CHECK(find_channel(source, r.second) != nullptr);
        REQUIRE(find_channel(source, "psys") != nullptr);
        CHECK_FALSE(find_channel(source, "psys")->in_total);
    }
}

TEST_CASE("rapl: an event that this PMU does not know is refused") {
    FakeTree tree;
    pmu(tree, "4294967");
    const Discovery found = discover(tree);
    CHECK(found.sources.empty());
    REQUIRE(found.findings.size() == 1);
    CHECK(found.findings[0].state == Finding::State::refused);
}

TEST_CASE("rapl: powercap that can be read keeps perf events out") {
    FakeTree tree;
    zone(tree, "intel-rapl:0", "package-0", "1");
    pmu(tree, "1");
    const Discovery found = discover(tree);
    REQUIRE(found.sources.size() == 1);
    CHECK(found.sources[0]->channels().size() == 1);
}
