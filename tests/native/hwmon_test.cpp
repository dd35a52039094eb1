#include <doctest/doctest.h>

#include <set>

#include "base/clock.h"
#include "fake_tree.h"

using namespace picojoule;
using namespace picojoule::testing;

namespace {

const std::string kHwmon = "sys/class/hwmon/";

Discovery discover(const FakeTree& tree) {
    return factory("hwmon").discover(tree.environment());
}

void amd_energy(const FakeTree& tree, const std::string& chip) {
    tree.write(chip + "/name", "amd_energy\n");
    tree.write(chip + "/energy1_input", "11\n");
    tree.write(chip + "/energy1_label", "Ecore000\n");
    tree.write(chip + "/energy2_input", "22\n");
    tree.write(chip + "/energy2_label", "Esocket0\n");
    tree.write(chip + "/energy10_input", "1010\n");
    tree.write(chip + "/energy10_label", "Esocket1\n");
}

void grace(const FakeTree& tree, const std::string& chip, const std::string& info,
           const std::string& microwatts) {
    tree.write(chip + "/device/name", "power_meter\n");
    tree.write(chip + "/device/power1_average", microwatts + "\n");
    tree.write(chip + "/device/power1_average_interval", "50\n");
    tree.write(chip + "/device/power1_oem_info", info + "\n");
}

const Channel* find_in(const Discovery& found, const std::string& domain) {
    for (const auto& source : found.sources) {
        if (const Channel* c = find_channel(*source, domain)) return c;
    }
    return nullptr;
}

}  // namespace

TEST_CASE("hwmon: amd_energy's sockets are CPUs, its cores are parts of them") {
    FakeTree tree;
    amd_energy(tree, kHwmon + "hwmon3");
    const Discovery found = discover(tree);
    REQUIRE(found.sources.size() == 1);
    const Channel* socket = find_in(found, "cpu:0/socket");
    const Channel* core = find_in(found, "hwmon:amd_energy/Ecore000");
    REQUIRE(socket != nullptr);
    REQUIRE(core != nullptr);
    REQUIRE(find_in(found, "cpu:1/socket") != nullptr);
    CHECK(socket->in_total);
    CHECK(socket->quantity == Quantity::energy);
    CHECK(socket->provenance == Provenance::measured);
    CHECK(socket->unit == doctest::Approx(1e-6));
    CHECK(socket->wrap_at == 0);
    CHECK_FALSE(core->in_total);
    RawValue values[3];
    REQUIRE(found.sources[0]->read(values) == ReadStatus::ok);
    CHECK(values[0].raw == 11);
    CHECK(values[1].raw == 22);
    CHECK(values[2].raw == 1010);
}

TEST_CASE("hwmon: where rapl counts the same joules, the sockets leave the total") {
    for (const char* other :
         {"sys/class/powercap/intel-rapl:0/name", "sys/bus/event_source/devices/power/type"}) {
        FakeTree tree;
        amd_energy(tree, kHwmon + "hwmon0");
        tree.write(other, "1\n");
        const Discovery found = discover(tree);
        const Channel* socket = find_in(found, "cpu:0/socket");
        REQUIRE(socket != nullptr);
        CHECK_FALSE(socket->in_total);
        CHECK(socket->note.find("rapl") != std::string::npos);
    }
}

TEST_CASE("hwmon: of Grace's meters only the socket's own is in the total") {
    FakeTree tree;
    grace(tree, kHwmon + "hwmon1", "Module Power Socket 0", "500000000");
    grace(tree, kHwmon + "hwmon2", "Grace Power Socket 0", "200000000");
    grace(tree, kHwmon + "hwmon3", "CPU Power Socket 0", "150000000");
    grace(tree, kHwmon + "hwmon4", "SysIO Power Socket 0", "20000000");
    grace(tree, kHwmon + "hwmon5", "Grace Power Socket 1", "210000000");
    const Discovery found = discover(tree);
    CHECK(found.sources.size() == 5);
    std::set<std::string> in_total;
    std::set<std::string> all;
    for (const auto& source : found.sources) {
        for (const Channel& c : source->channels()) {
            all.insert(c.domain);
            if (c.in_total) in_total.insert(c.domain);
            CHECK(c.field == "power_average");
            CHECK(c.quantity == Quantity::power);
            CHECK(c.provenance == Provenance::modelled);
            CHECK(c.window_ns == 50 * kNsPerMs);
            CHECK(c.update_period_ns == 0);
        }
    }
    CHECK(in_total == std::set<std::string>{"cpu:0/grace", "cpu:1/grace"});
    CHECK(all.contains("hwmon:power_meter/Module Power Socket 0"));
    CHECK(all.contains("hwmon:power_meter/CPU Power Socket 0"));
    RawValue value[1];
    REQUIRE(found.sources[1]->read(value) == ReadStatus::ok);
    CHECK(static_cast<double>(value[0].raw) * find_in(found, "cpu:0/grace")->unit ==
          doctest::Approx(200.0));
}

TEST_CASE("hwmon: a second meter of one socket does not count twice") {
    FakeTree tree;
    grace(tree, kHwmon + "hwmon1", "Grace Power Socket 0", "1");
    grace(tree, kHwmon + "hwmon2", "Grace Power Socket 0", "1");
    const Discovery found = discover(tree);
    REQUIRE(find_in(found, "cpu:0/grace#2") != nullptr);
    CHECK(find_in(found, "cpu:0/grace")->in_total);
    CHECK_FALSE(find_in(found, "cpu:0/grace#2")->in_total);
}

TEST_CASE("hwmon: where NVIDIA's driver counts the module, Grace's socket leaves the total") {
    FakeTree tree;
    grace(tree, kHwmon + "hwmon1", "Grace Power Socket 0", "200000000");
    CHECK(find_in(discover(tree), "cpu:0/grace")->in_total);
    grace(tree, kHwmon + "hwmon2", "Module Power Socket 0", "500000000");
    CHECK(find_in(discover(tree), "cpu:0/grace")->in_total);  // no GPU that is measured
    tree.write("proc/driver/nvidia/gpus/0009:01:00.0/information", "Model: GH200\n");
    const Discovery found = discover(tree);
    REQUIRE(find_in(found, "cpu:0/grace") != nullptr);
    CHECK_FALSE(find_in(found, "cpu:0/grace")->in_total);
    const Discovery estimate = factory("cpu_estimate").discover(tree.environment());
    CHECK_FALSE(estimate.sources.at(0)->channels()[0].in_total);
}

TEST_CASE("hwmon: AMD's cards are GPUs, its processors with graphics are not identified") {
    FakeTree tree;
    for (const char* chip : {"hwmon0", "hwmon1", "hwmon2"}) {
        tree.write(kHwmon + chip + "/name", "amdgpu\n");
        tree.write(kHwmon + chip + "/power1_average", "35000000\n");
        tree.write(kHwmon + chip + "/power1_label", "PPT\n");
    }
    tree.write(kHwmon + "hwmon0/device/gpu_metrics", std::string("\x78\x00\x01\x03", 4));
    tree.write(kHwmon + "hwmon1/device/gpu_metrics", std::string("\x80\x00\x02\x02", 4));
    tree.write(kHwmon + "hwmon2/device/gpu_metrics", "x");
    const Discovery found = discover(tree);
    CHECK(found.sources.size() == 3);
    const Channel* card = find_in(found, "gpu:hwmon0");
    REQUIRE(card != nullptr);
    CHECK(card->in_total);
    CHECK(card->provenance == Provenance::modelled);
    for (const char* domain : {"hwmon:amdgpu/PPT", "hwmon:amdgpu/PPT#2"}) {
        REQUIRE(find_in(found, domain) != nullptr);
        CHECK_FALSE(find_in(found, domain)->in_total);
    }
}

TEST_CASE("hwmon: of an Intel card one counter is in the total") {
    FakeTree tree;
    tree.write(kHwmon + "hwmon4/name", "xe\n");
    tree.write(kHwmon + "hwmon4/energy1_input", "7\n");
    tree.write(kHwmon + "hwmon4/energy1_label", "card\n");
    tree.write(kHwmon + "hwmon4/energy2_input", "5\n");
    tree.write(kHwmon + "hwmon4/energy2_label", "pkg\n");
    tree.write(kHwmon + "hwmon4/power1_input", "5000000\n");
    tree.write(kHwmon + "hwmon5/name", "i915_gt0\n");
    tree.write(kHwmon + "hwmon5/energy1_input", "5\n");
    const Discovery found = discover(tree);
    const Channel* card = find_in(found, "gpu:hwmon4");
    REQUIRE(card != nullptr);
    CHECK(card->in_total);
    CHECK(card->quantity == Quantity::energy);
    CHECK(card->provenance == Provenance::measured);
    std::size_t in_total = 0;
    for (const auto& source : found.sources) {
        for (const Channel& c : source->channels()) in_total += c.in_total ? 1 : 0;
    }
    CHECK(in_total == 1);
    CHECK(find_in(found, "gpu:hwmon4/pkg") != nullptr);
    CHECK(find_in(found, "hwmon:i915_gt0/energy1") != nullptr);
}

TEST_CASE("hwmon: gauges of unknown contents are read and not counted") {
    FakeTree tree;
    tree.write(kHwmon + "hwmon0/name", "coretemp\n");
    tree.write(kHwmon + "hwmon0/temp1_input", "45000\n");
    tree.write(kHwmon + "hwmon1/name", "amdgpu\n");
    tree.write(kHwmon + "hwmon1/power1_average", "35000000\n");
    tree.write(kHwmon + "hwmon1/power1_input", "36000000\n");
    tree.write(kHwmon + "hwmon1/power1_label", "PPT\n");
    tree.write(kHwmon + "hwmon1/power1_cap", "90000000\n");
    tree.write(kHwmon + "hwmon2/name", "ina226\n");
    tree.write(kHwmon + "hwmon2/power1_input", "5000000\n");
    const Discovery found = discover(tree);
    CHECK(found.sources.size() == 2);
    const Channel* gpu = find_in(found, "hwmon:amdgpu/PPT");
    const Channel* rail = find_in(found, "hwmon:ina226/power1");
    REQUIRE(gpu != nullptr);
    REQUIRE(rail != nullptr);
    CHECK(gpu->field == "power_average");
    CHECK(rail->field == "power_instant");
    CHECK_FALSE(gpu->in_total);
    CHECK_FALSE(rail->in_total);
    CHECK(rail->window_ns == 0);
}

TEST_CASE("hwmon: a sensor that cannot be read is refused, the others work") {
    FakeTree tree;
    tree.write(kHwmon + "hwmon0/name", "xe\n");
    tree.write(kHwmon + "hwmon0/energy1_input", "7\n");
    tree.link(kHwmon + "hwmon0/energy2_input", "nowhere");
    const Discovery found = discover(tree);
    REQUIRE(found.sources.size() == 1);
    CHECK(found.sources[0]->channels().size() == 1);
    CHECK(count(found, Finding::State::refused) == 1);
    CHECK(count(found, Finding::State::works) == 1);
}

TEST_CASE("hwmon: no tree, and a tree without power, are absent") {
    FakeTree tree;
    CHECK(count(discover(tree), Finding::State::absent) == 1);
    tree.write(kHwmon + "hwmon0/name", "nvme\n");
    tree.write(kHwmon + "hwmon0/temp1_input", "40000\n");
    const Discovery found = discover(tree);
    CHECK(found.sources.empty());
    CHECK(count(found, Finding::State::absent) == 1);
}
