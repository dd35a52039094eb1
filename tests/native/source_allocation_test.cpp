// read() runs on the sampler's thread, many times a second: it must not allocate.
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <unistd.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#include "fake_tree.h"

extern "C" void* __libc_malloc(std::size_t);

namespace {
thread_local std::size_t t_allocations = 0;
}

extern "C" void* malloc(std::size_t size) {
    ++t_allocations;
    return __libc_malloc(size);
}

using namespace picojoule;
using namespace picojoule::testing;

TEST_CASE("sources: reads of the CPU's meters allocate nothing") {
    FakeTree tree;
    tree.write("sys/class/powercap/intel-rapl:0/name", "package-0\n");
    tree.write("sys/class/powercap/intel-rapl:0/energy_uj", "1\n");
    tree.write("sys/class/hwmon/hwmon0/name", "ina226\n");
    tree.write("sys/class/hwmon/hwmon0/power1_input", "1\n");
    FakeTree pmu;
    pmu.write("sys/bus/event_source/devices/power/type", "1\n");
    pmu.write("sys/bus/event_source/devices/power/events/energy-pkg", "event=0x00\n");
    pmu.write("sys/bus/event_source/devices/power/events/energy-pkg.scale", "1e-9\n");
    FakeTree lists;
    lists.link("proc/self", "100");
    lists.write("proc/100/task/100/children", "101 102");
    lists.write("proc/101/stat", "101 (a) S 100 1 1 0 -1 1 1 2 3 4 5 6 7 8 20 0 1 0 9 10\n");

    std::vector<std::unique_ptr<Source>> sources;
    const auto open = [&](std::string_view name, const Environment& environment) {
        for (auto& s : factory(name).discover(environment).sources) sources.push_back(std::move(s));
    };
    open("rapl", tree.environment());
    open("hwmon", tree.environment());
    open("rapl", pmu.environment());
    open("cpu_estimate", lists.environment());
    open("cpu_estimate", Environment{});
    Environment made_up;
    made_up.argument = "shape=sampled;window_ns=2e7;noise_w=1;jitter_ns=1e4;levels=90:1000000";
    open("simulate", made_up);
    CHECK(sources.size() >= 5);
    for (auto& source : sources) {
        std::vector<RawValue> values(source->channels().size());
        CAPTURE(source->channels()[0].meter);
        const std::size_t before = t_allocations;
        const ReadStatus first = source->read(values);
        ::usleep(110'000);  // the next one searches for descendants again
        const ReadStatus second = source->read(values);
        const std::size_t after = t_allocations;
        CHECK(first == ReadStatus::ok);
        CHECK(second == ReadStatus::ok);
        CHECK(after == before);
    }
}

TEST_CASE("sources: reads of NVIDIA boards allocate nothing") {
    void* const fake = ::dlopen(FAKE_NVML_PATH, RTLD_NOW | RTLD_GLOBAL);
    REQUIRE(fake != nullptr);
    ::unsetenv("CUDA_VISIBLE_DEVICES");
    const auto configure =
        reinterpret_cast<void (*)(const char*)>(::dlsym(fake, "fake_nvml_configure"));
    configure("latency_us=0");
    for (const char* meter : {"nvml", "nvml_state"}) {
        CAPTURE(meter);
        const auto found = factory(meter).discover(Environment{});
        REQUIRE(found.sources.size() == 1);
        std::vector<RawValue> values(found.sources[0]->channels().size());
        for (const char* trouble : {"", "keep=1;gpm_sample_error=999;clock_error=3"}) {
            configure(trouble);
            ::usleep(110'000);  // GPM gives new means
            const std::size_t before = t_allocations;
            const ReadStatus status = found.sources[0]->read(values);
            const std::size_t after = t_allocations;
            CHECK(status == ReadStatus::ok);
            CHECK(after == before);
        }
    }
}

#endif
