#include <dlfcn.h>
#include <doctest/doctest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "base/clock.h"
#include "sources/nvml_api.h"
#include "sources/source.h"

namespace picojoule::nvml {
Discovery discover(const Environment&);
}

using namespace picojoule;

namespace {

// The scripted library, loaded by path: from then on its SONAME answers for libnvidia-ml.so.1.
struct Fake {
    void* handle = ::dlopen(FAKE_NVML_PATH, RTLD_NOW | RTLD_GLOBAL);
    void (*configure)(const char*) = symbol<void(const char*)>("fake_nvml_configure");
    double (*true_energy_j)(int, long long, long long) =
        symbol<double(int, long long, long long)>("fake_nvml_true_energy_j");
    long long (*tick_ns)(int, long long) = symbol<long long(int, long long)>("fake_nvml_tick_ns");
    long long (*last_tick_before)(int, long long) =
        symbol<long long(int, long long)>("fake_nvml_last_tick_before");
    unsigned long long (*calls)() = symbol<unsigned long long()>("fake_nvml_calls");
    unsigned long long (*calls_by_thread)(int) =
        symbol<unsigned long long(int)>("fake_nvml_calls_by_thread");

    explicit Fake(const char* script) {
        REQUIRE(handle != nullptr);
        ::unsetenv("CUDA_VISIBLE_DEVICES");
        ::unsetenv("CUDA_DEVICE_ORDER");
        configure(script);
    }

    template <class F>
    F* symbol(const char* name) const {
        return reinterpret_cast<F*>(::dlsym(handle, name));
    }

    // The instant of the tick whose value is shown at t.
    [[nodiscard]] long long shown_at(long long t, int gpu = 0) const {
        return tick_ns(gpu, last_tick_before(gpu, t));
    }
};

Discovery found() {
    return nvml::discover(Environment{});
}

std::vector<RawValue> values_of(Source& source, ReadStatus expected = ReadStatus::ok) {
    std::vector<RawValue> values(source.channels().size());
    CHECK(source.read(values) == expected);
    return values;
}

std::string fields_of(const Source& source) {
    std::string all;
    for (const Channel& c : source.channels()) all += (all.empty() ? "" : ",") + c.field;
    return all;
}

void sleep_ms(int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

}  // namespace

TEST_CASE("nvml: without the library, that is what is found") {
    if (::dlopen("libnvidia-ml.so.1", RTLD_NOW) != nullptr) {
        MESSAGE("an NVML is here: not tried");
        return;
    }
    const auto d = found();
    CHECK(d.sources.empty());
    REQUIRE(d.findings.size() == 1);
    CHECK(d.findings[0].state == Finding::State::absent);
    CHECK(d.findings[0].why.starts_with("libnvidia-ml.so.1 was not found: no NVIDIA driver"));
}

TEST_CASE("nvml: channels of an H100") {
    const Fake fake("latency_us=0");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    REQUIRE(d.findings.size() == 1);
    CHECK(d.findings[0].state == Finding::State::works);
    CHECK(d.findings[0].why.find("driver 580.00") != std::string::npos);
    CHECK(fields_of(*d.sources[0]) == "energy,power_instant,power_average,power_memory");
    const auto channels = d.sources[0]->channels();
    for (const Channel& c : channels) {
        CHECK(c.meter == "nvml");
        CHECK(c.device == "Fake H100 (GPU-fa4e0000-0000-4000-8000-000000000000)");
        CHECK(c.unit == 1e-3);
        CHECK(c.latched);
        CHECK(c.provenance == Provenance::measured);
        CHECK(c.gain_std == 0.05);
        CHECK(c.in_total == (c.field == "energy"));
        CHECK((c.quantity == Quantity::energy) == (c.field == "energy"));
        CHECK((c.update_period_ns == 0 || c.update_period_ns >= 20'000'000));
        CHECK(c.domain == (c.field == "power_memory" ? "gpu:0/memory" : "gpu:0"));
    }
    CHECK(channels[0].update_period_ns == 0);
    CHECK(channels[1].window_ns == 22'600'000);
    CHECK(channels[1].update_period_ns == 100'000'000);
    CHECK(channels[2].window_ns == 1'000'000'000);
}

TEST_CASE("nvml: what is known of a sensor depends on the board") {
    struct Case {
        const char* script;
        std::int64_t window_ns, period_ns;
    };
    for (const Case& c :
         {Case{"arch=7;pci_device=0x20b210de", 24'500'000, 101'200'000},
          Case{"arch=7;pci_device=0x220410de", 100'000'000, 100'000'000},
          Case{"arch=8", 100'000'000, 100'000'000}, Case{"arch=10", 0, 0},
          Case{"arch=6", 100'000'000, 100'000'000}, Case{"arch=5", 10'600'000, 20'000'000}}) {
        CAPTURE(c.script);
        const Fake fake(c.script);
        const auto d = found();
        REQUIRE(d.sources.size() == 1);
        CHECK(d.sources[0]->channels()[1].window_ns == c.window_ns);
        CHECK(d.sources[0]->channels()[1].update_period_ns == c.period_ns);
    }
}

TEST_CASE("nvml: one call a read, on the thread that reads") {
    const Fake fake("latency_us=5");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    const auto before = fake.calls();
    for (int i = 0; i < 10; ++i) values_of(*d.sources[0]);
    CHECK(fake.calls() - before == 10);

    unsigned long long elsewhere = 0;
    std::thread([&] {
        for (int i = 0; i < 3; ++i) values_of(*d.sources[0]);
        elsewhere = fake.calls_by_thread(static_cast<int>(::syscall(SYS_gettid)));
    }).join();
    CHECK(elsewhere == 3);
}

TEST_CASE("nvml: energy and power are those of the board, at its ticks") {
    const Fake fake(
        "gpus=2;scale=1,0.5;tick_ms=20;phase_us=0,7000;jitter_us=500;missed=0.1;period_ms=30;"
        "window_ms=5");
    const auto d = found();
    REQUIRE(d.sources.size() == 2);
    for (int gpu = 0; gpu < 2; ++gpu) {
        CAPTURE(gpu);
        Source& source = *d.sources[static_cast<std::size_t>(gpu)];
        CHECK(source.channels()[0].domain == "gpu:" + std::to_string(gpu));
        sleep_ms(60);  // past the first ticks
        const long long a0 = now_ns();
        const auto a = values_of(source);
        const long long a1 = now_ns();
        sleep_ms(170);
        const long long b0 = now_ns();
        const auto b = values_of(source);
        const long long b1 = now_ns();
        for (const RawValue& v : a) CHECK(v.valid);
        const double joules = static_cast<double>(b[0].raw - a[0].raw) * 1e-3;
        CHECK(joules >=
              fake.true_energy_j(gpu, fake.shown_at(a1, gpu), fake.shown_at(b0, gpu)) - 2e-3);
        CHECK(joules <=
              fake.true_energy_j(gpu, fake.shown_at(a0, gpu), fake.shown_at(b1, gpu)) + 2e-3);
        if (fake.shown_at(b0, gpu) == fake.shown_at(b1, gpu)) {
            const long long tick = fake.shown_at(b0, gpu);
            const auto mean_w = [&](long long window) {
                return fake.true_energy_j(gpu, tick - window, tick) /
                       (static_cast<double>(window) * 1e-9);
            };
            CHECK(static_cast<double>(b[1].raw) * 1e-3 ==
                  doctest::Approx(mean_w(5'000'000)).epsilon(1e-4));
            CHECK(static_cast<double>(b[2].raw) * 1e-3 ==
                  doctest::Approx(mean_w(1'000'000'000)).epsilon(1e-4));
        }
    }
}

TEST_CASE("nvml: a superchip tells the power of its module") {
    const Fake fake("fields=83,186/1,185/1");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    CHECK(fields_of(*d.sources[0]) == "energy,power_instant,power_average");
    for (const Channel& c : d.sources[0]->channels()) {
        CHECK(c.note.find("whole module") != std::string::npos);
    }
    CHECK(d.sources[0]->channels()[0].in_total);
    for (const RawValue& v : values_of(*d.sources[0])) CHECK(v.valid);
}

TEST_CASE("nvml: no memory sensor where it reads 0") {
    const Fake fake("memory_share=0");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    CHECK(fields_of(*d.sources[0]) == "energy,power_instant,power_average");
}

TEST_CASE("nvml: older calls, where fields are not known") {
    {
        const Fake fake("fields_error=3");
        const auto d = found();
        REQUIRE(d.sources.size() == 1);
        CHECK(fields_of(*d.sources[0]) == "energy");
        CHECK(d.sources[0]->channels()[0].in_total);
        CHECK(values_of(*d.sources[0])[0].valid);
    }
    {  // the counter is worth more than the gauges, and one poll is one call
        const Fake fake("fields=186,185");
        CHECK(fields_of(*found().sources.at(0)) == "energy");
    }
    {
        const Fake fake("fields=;energy_call=0;usage=instant;arch=4;wave=const;hi=250");
        const auto d = found();
        REQUIRE(d.sources.size() == 1);
        const Channel& c = d.sources[0]->channels()[0];
        CHECK(fields_of(*d.sources[0]) == "power_instant");
        CHECK(c.window_ns == 10'600'000);
        CHECK(c.in_total);
        CHECK(c.provenance == Provenance::modelled);
        CHECK(values_of(*d.sources[0])[0].raw == 250'000);
    }
    {
        const Fake fake("fields=;energy_call=0");
        CHECK(fields_of(*found().sources.at(0)) == "power_average");
    }
}

TEST_CASE("nvml: power alone, in fields") {
    const Fake fake("fields=186,185,185/2;energy_call=0");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    CHECK(fields_of(*d.sources[0]) == "power_instant,power_average,power_memory");
    int totals = 0;
    for (const Channel& c : d.sources[0]->channels()) totals += c.in_total ? 1 : 0;
    CHECK(totals == 1);
    CHECK(d.sources[0]->channels()[0].in_total);
    CHECK(d.sources[0]->channels()[0].provenance == Provenance::modelled);
}

TEST_CASE("nvml: a board that tells nothing") {
    const Fake fake("fields=;energy_call=0;usage=none");
    const auto d = found();
    CHECK(d.sources.empty());
    REQUIRE(d.findings.size() == 1);
    CHECK(d.findings[0].state == Finding::State::absent);
}

TEST_CASE("nvml: refused permission, at the start and in between") {
    {
        const Fake fake("denied_at_s=0");
        const auto d = found();
        CHECK(d.sources.empty());
        REQUIRE(d.findings.size() == 1);
        CHECK(d.findings[0].state == Finding::State::refused);
        CHECK_FALSE(d.findings[0].remedy.empty());
    }
    const Fake fake("");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    fake.configure("keep=1;denied_at_s=0;denied_until_s=0.05");
    const auto values = values_of(*d.sources[0], ReadStatus::denied);
    for (const RawValue& v : values) CHECK_FALSE(v.valid);
    CHECK(d.sources[0]->failure().find("Insufficient Permissions") != std::string::npos);
    sleep_ms(60);
    CHECK(values_of(*d.sources[0])[0].valid);
}

TEST_CASE("nvml: a board that leaves") {
    const Fake fake("");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    fake.configure("keep=1;lost_at_s=0");
    values_of(*d.sources[0], ReadStatus::gone);
    CHECK(d.sources[0]->failure().find("GPU is lost") != std::string::npos);
    CHECK(found().sources.empty());
    CHECK(found().findings.at(0).state == Finding::State::refused);
}

TEST_CASE("nvml: other errors pass, and one field may fail alone") {
    const Fake fake("");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    fake.configure("keep=1;fields_error=999");
    values_of(*d.sources[0], ReadStatus::retry);
    fake.configure("keep=1;fields_error=0;fields=83,185,185/2");
    const auto values = values_of(*d.sources[0]);
    CHECK(values[0].valid);
    CHECK_FALSE(values[1].valid);
    CHECK(values[2].valid);
    fake.configure("keep=1;fields=");
    values_of(*d.sources[0], ReadStatus::retry);
    fake.configure("field_error=83:4");
    CHECK_FALSE(values_of(*d.sources[0])[0].valid);
    CHECK(values_of(*d.sources[0])[1].valid);
    fake.configure("field_error=83:4,185:4,186:4");
    values_of(*d.sources[0], ReadStatus::denied);
    fake.configure("field_error=186:15");
    values_of(*d.sources[0], ReadStatus::gone);
}

TEST_CASE("nvml: the counter restarts with the driver") {
    const Fake fake("tick_ms=5;reset_at_s=0.08");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    std::uint64_t last = 0;
    int drops = 0;
    for (int i = 0; i < 60; ++i) {
        const auto now = values_of(*d.sources[0])[0].raw;
        drops += now < last ? 1 : 0;
        last = now;
        sleep_ms(3);
    }
    CHECK(drops == 1);
}

TEST_CASE("nvml: a board that only ever says 0 is not measured") {
    const Fake fake("wave=const;hi=0;memory_share=0");
    const auto d = found();
    CHECK(d.sources.empty());
    REQUIRE(d.findings.size() == 1);
    CHECK(d.findings[0].state == Finding::State::absent);
}

TEST_CASE("nvml: survives that someone else shuts NVML down") {
    const Fake fake("");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    auto* shutdown = fake.symbol<int()>("nvmlShutdown");
    while (shutdown() == 0) {
    }
    values_of(*d.sources[0], ReadStatus::retry);
    CHECK(values_of(*d.sources[0])[0].valid);
}

TEST_CASE("nvml: why it did not start") {
    for (const auto& [script, remedy] : {std::pair{"init_error=9", "sudo modprobe nvidia"},
                                         {"init_error=18", "sudo reboot"},
                                         {"init_error=4", "chmod"},
                                         {"init_error=999", "nvidia-smi"}}) {
        CAPTURE(script);
        const Fake fake(script);
        const auto d = found();
        CHECK(d.sources.empty());
        REQUIRE(d.findings.size() == 1);
        CHECK(d.findings[0].state == Finding::State::refused);
        CHECK(d.findings[0].remedy.find(remedy) != std::string::npos);
    }
    const Fake fake("gpus=0");
    CHECK(found().findings.at(0).state == Finding::State::absent);
}

TEST_CASE("nvml: only the boards that this process sees") {
    const Fake fake("gpus=3;pci=0:30:00.0,0:10:00.0,0:20:00.0");
    ::setenv("CUDA_VISIBLE_DEVICES", "0", 1);
    auto d = found();
    REQUIRE(d.sources.size() == 1);
    CHECK(d.sources[0]->channels()[0].domain == "gpu:1");

    ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
    d = found();
    CHECK(d.sources.empty());
    CHECK(d.findings.at(0).subject == "CUDA_VISIBLE_DEVICES");

    fake.configure("gpus=2;names=H100,T4");
    ::setenv("CUDA_VISIBLE_DEVICES", "0", 1);
    d = found();
    CHECK(d.sources.size() == 2);
    REQUIRE(d.findings.size() == 3);
    CHECK(d.findings[0].remedy.find("CUDA_DEVICE_ORDER=PCI_BUS_ID") != std::string::npos);
    CHECK_FALSE(d.sources[0]->channels()[0].note.empty());
}

TEST_CASE("nvml: a MIG slice is measured as its board") {
    const Fake fake("gpus=2;mig=1:MIG-11,1:MIG-12");
    ::setenv("CUDA_VISIBLE_DEVICES", "MIG-12", 1);
    auto d = found();
    REQUIRE(d.sources.size() == 1);
    CHECK(d.sources[0]->channels()[0].domain == "gpu:1");
    CHECK(d.sources[0]->channels()[0].note ==
          "whole board; this process sees one MIG slice (MIG-12)");
    CHECK(values_of(*d.sources[0])[0].valid);

    ::unsetenv("CUDA_VISIBLE_DEVICES");
    d = found();
    REQUIRE(d.sources.size() == 2);
    CHECK(d.sources[0]->channels()[0].note.empty());
    CHECK_FALSE(d.sources[1]->channels()[0].note.empty());
}

TEST_CASE("nvml: first in the registry, and opened without being named") {
    const auto all = source_registry();
    CHECK(all[0].name == "nvml");
    CHECK(all[0].by_default == SourceFactory::Default::yes);
}

// ---- the fake itself: what other tests take for the truth ------------------------------------

TEST_CASE("fake nvml: ticks come in order, hold, and may be missed") {
    const Fake fake("tick_ms=100;phase_us=3000;jitter_us=20000;missed=0.3");
    int missed = 0;
    for (long long k = 0; k < 200; ++k) {
        CHECK(fake.tick_ns(0, k) < fake.tick_ns(0, k + 1));
        const long long shown = fake.last_tick_before(0, fake.tick_ns(0, k));
        CHECK(shown <= k);
        missed += shown < k ? 1 : 0;
        CHECK(fake.last_tick_before(0, fake.tick_ns(0, k) - 1) < k);
    }
    CHECK(missed > 30);
    CHECK(missed < 90);
    const Fake plain("phase_us=3000");
    CHECK(plain.tick_ns(0, 7) == 703'000'000);
}

TEST_CASE("fake nvml: the integral of its wave") {
    const Fake fake("lo=100;hi=500;period_ms=100;duty=0.25");
    const long long ms = 1'000'000;
    CHECK(fake.true_energy_j(0, 0, 25 * ms) == doctest::Approx(12.5));
    CHECK(fake.true_energy_j(0, 25 * ms, 100 * ms) == doctest::Approx(7.5));
    CHECK(fake.true_energy_j(0, 0, 1000 * ms) == doctest::Approx(200.0));
    CHECK(fake.true_energy_j(0, 1'000'000'000 * ms, 1'000'000'010 * ms) == doctest::Approx(5.0));
}

TEST_CASE("fake nvml: steps, phases, and all boards together") {
    const long long s = 1'000'000'000;
    {
        const Fake fake("wave=steps;lo=50;steps=2:100,3:300,5:0;gpus=2;scale=1,2");
        CHECK(fake.true_energy_j(0, 0, 2 * s) == doctest::Approx(100));
        CHECK(fake.true_energy_j(0, s, 4 * s) == doctest::Approx(50 + 100 + 300));
        CHECK(fake.true_energy_j(0, 4 * s, 9 * s) == doctest::Approx(300));
        CHECK(fake.true_energy_j(1, s, 4 * s) == doctest::Approx(900));
        CHECK(fake.true_energy_j(-1, s, 4 * s) == doctest::Approx(1350));
    }
    const Fake fake("lo=0;hi=100;period_ms=1000;duty=0.5;wave_phase_ms=250");
    CHECK(fake.true_energy_j(0, 0, s / 4) == doctest::Approx(0));
    CHECK(fake.true_energy_j(0, 0, s) == doctest::Approx(50));
    CHECK(fake.true_energy_j(0, s / 4, s / 2) == doctest::Approx(25));
}

TEST_CASE("fake nvml: values are shown after their tick") {
    const Fake fake("tick_ms=100;publish_us=30000");
    CHECK(fake.tick_ns(0, 7) == 700'000'000);
    CHECK(fake.last_tick_before(0, 729'999'999) == 6);
    CHECK(fake.last_tick_before(0, 730'000'000) == 7);
}

TEST_CASE("fake nvml: a wrapping counter stays below its modulus") {
    const Fake fake("tick_ms=1;wrap=5000;wave=const;hi=600");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    for (int i = 0; i < 20; ++i) {
        CHECK(values_of(*d.sources[0])[0].raw < 5000);
        sleep_ms(2);
    }
}

TEST_CASE("fake nvml: a call is busy for as long as it is told") {
    const Fake fake("latency_us=2000");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    const long long begin = now_ns();
    values_of(*d.sources[0]);
    CHECK(now_ns() - begin >= 2'000'000);
}
