#include <dlfcn.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "base/clock.h"
#include "recorder/engine.h"
#include "sources/nvml_api.h"
#include "sources/source.h"

namespace picojoule::nvml_state {
Discovery discover(const Environment&);
}

using namespace picojoule;

namespace {

struct Fake {
    void* handle = ::dlopen(FAKE_NVML_PATH, RTLD_NOW | RTLD_GLOBAL);
    void (*configure)(const char*) = symbol<void(const char*)>("fake_nvml_configure");
    int (*samples)() = symbol<int()>("fake_nvml_gpm_samples");
    long long (*least_ns)() = symbol<long long()>("fake_nvml_gpm_least_ns");

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
};

Discovery found() {
    return nvml_state::discover(Environment{});
}

void sleep_ms(int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

std::size_t index_of(const Source& source, const std::string& field) {
    const auto channels = source.channels();
    const auto at = std::ranges::find(channels, field, &Channel::field);
    REQUIRE_MESSAGE(at != channels.end(), field);
    return static_cast<std::size_t>(at - channels.begin());
}

// One read, by the names of its channels.
struct Look {
    const Source& source;
    std::vector<RawValue> values;
    ReadStatus status;

    explicit Look(Source& s) : source(s), values(s.channels().size()), status(s.read(values)) {}

    [[nodiscard]] const RawValue& raw(const std::string& field) const {
        return values[index_of(source, field)];
    }
    // In the channel's unit.
    [[nodiscard]] double of(const std::string& field) const {
        const std::size_t i = index_of(source, field);
        REQUIRE_MESSAGE(values[i].valid, field);
        return static_cast<double>(values[i].raw) * source.channels()[i].unit;
    }
};

std::string all_of(const Source& source) {
    std::string all;
    for (const Channel& c : source.channels()) all += (all.empty() ? "" : ",") + c.field;
    return all;
}

constexpr const char* kPlain =
    "sm_clock,memory_clock,clock_event_reasons,temperature,memory_temperature,"
    "throttled_power_cap_ns,throttled_sw_thermal_ns,throttled_hw_thermal_ns,"
    "throttled_power_brake_ns";

}  // namespace

TEST_CASE("nvml_state: channels of an H100, none of which tells energy") {
    const Fake fake("latency_us=0");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    REQUIRE(d.findings.size() == 1);
    CHECK(d.findings[0].state == Finding::State::works);
    CHECK(all_of(*d.sources[0]) ==
          std::string(kPlain) +
              ",sm_util,sm_occupancy,tensor_util,hmma_tensor_util,imma_tensor_util,"
              "dfma_tensor_util,fp64_util,fp32_util,fp16_util,integer_util,dram_bandwidth_util,"
              "pcie_tx,pcie_rx,nvlink_tx,nvlink_rx");
    for (const Channel& c : d.sources[0]->channels()) {
        CAPTURE(c.field);
        CHECK(c.meter == "nvml_state");
        CHECK(c.domain == "gpu:0");
        CHECK_FALSE(tells_energy(c.quantity));
        CHECK_FALSE(c.in_total);
        CHECK((c.quantity == Quantity::temperature) == c.field.ends_with("temperature"));
        CHECK((c.quantity == Quantity::count) == c.field.starts_with("throttled_"));
        CHECK((c.quantity == Quantity::ratio) ==
              (c.field.ends_with("_util") || c.field == "sm_occupancy"));
    }
    CHECK(d.sources[0]->pace_ns() == 100 * kNsPerMs);
}

TEST_CASE("nvml_state: ids that meant something else in older drivers are not asked there") {
    const Fake fake("latency_us=0;driver=575.51.03;gpm=0;memory_celsius=-1");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    CHECK(all_of(*d.sources[0]) ==
          "sm_clock,memory_clock,clock_event_reasons,temperature,throttled_power_cap_ns");
}

TEST_CASE("nvml_state: values in the units that the channels say") {
    const Fake fake(
        "latency_us=0;sm_mhz=1410;memory_mhz=1593;celsius=71;memory_celsius=84;reasons=0x24;"
        "throttled=74:0.5,269:0,270:0,271:0;"
        "gpm_values=5:72.5,10:33.25,20:1.5,61:0");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    Source& source = *d.sources[0];
    sleep_ms(105);
    const std::int64_t before = now_ns();
    const Look first(source);
    const std::int64_t after = now_ns();
    CHECK(first.status == ReadStatus::ok);
    CHECK(first.of("sm_clock") == 1410e6);
    CHECK(first.of("memory_clock") == 1593e6);
    CHECK(first.of("temperature") == 71.0);
    CHECK(first.of("memory_temperature") == 84.0);
    CHECK(first.raw("clock_event_reasons").raw == 0x24);
    CHECK(first.of("tensor_util") == doctest::Approx(0.725).epsilon(1e-6));
    CHECK(first.of("dram_bandwidth_util") == doctest::Approx(0.3325).epsilon(1e-6));
    CHECK(first.of("pcie_tx") == 1.5 * 1024 * 1024);
    CHECK(first.of("nvlink_tx") == 0.0);
    const auto fields = all_of(source);
    CHECK(fields.find("fp64_util") == std::string::npos);  // the board does not tell it
    sleep_ms(105);
    const std::int64_t from = now_ns();
    const Look second(source);
    const std::int64_t to = now_ns();
    const auto throttled = static_cast<std::int64_t>(second.raw("throttled_power_cap_ns").raw -
                                                     first.raw("throttled_power_cap_ns").raw);
    CHECK(throttled >= (from - after) / 2 - 1);
    CHECK(throttled <= (to - before) / 2 + 1);
    CHECK(second.raw("throttled_sw_thermal_ns").raw == 0);
}

TEST_CASE("nvml_state: GPM tells the mean between two samples at least 100 ms apart") {
    const Fake fake(
        "latency_us=0;gpm_wave=1;gpm_values=5:100;wave=square;lo=0;hi=100;period_ms=10;duty=0.25");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    Source& source = *d.sources[0];
    sleep_ms(105);
    const std::int64_t asked = now_ns();
    const Look fresh(source);
    CHECK(fresh.of("tensor_util") == doctest::Approx(0.25).epsilon(0.08));
    // Asked again at once: the same mean, and the board was not sampled.
    const Look again(source);
    if (now_ns() - asked < 100 * kNsPerMs) {  // or else this machine was held up
        CHECK(again.raw("tensor_util").raw == fresh.raw("tensor_util").raw);
    }
    CHECK(fake.least_ns() >= 100 * kNsPerMs);
    // After a pause the mean would be that of the pause.
    sleep_ms(1'050);
    const Look late(source);
    CHECK(late.status == ReadStatus::ok);
    CHECK_FALSE(late.raw("tensor_util").valid);
    CHECK(late.raw("sm_clock").valid);
    sleep_ms(105);
    CHECK(Look(source).raw("tensor_util").valid);
}

TEST_CASE("nvml_state: samples are freed with their board") {
    const Fake fake("latency_us=0;gpus=2");
    const int before = fake.samples();
    {
        const auto d = found();
        CHECK(d.sources.size() == 2);
        CHECK(fake.samples() == before + 4);
    }
    CHECK(fake.samples() == before);
}

TEST_CASE("nvml_state: what the board does not tell is left out, with the reason") {
    struct Case {
        const char* script;
        const char* fields;  // "": no source
        Finding::State state;
        const char* why;
        const char* remedy;
    };
    const std::string plain = kPlain;
    const char* const open_devices = "sudo chmod a+rw /dev/nvidia*";
    for (const Case& c : {
             Case{"arch=8", kPlain, Finding::State::absent, "before Hopper", ""},
             Case{"gpm=0", kPlain, Finding::State::absent, "Not Supported", ""},
             Case{"gpm_support_error=4", kPlain, Finding::State::refused,
                  "Insufficient Permissions", open_devices},
             Case{"gpm_sample_error=4", kPlain, Finding::State::refused, "Insufficient Permissions",
                  open_devices},
             Case{"gpm_get_error=999", kPlain, Finding::State::refused, "Unknown Error", ""},
             Case{"gpm_values=1:1", kPlain, Finding::State::absent, "Not Supported", ""},
             Case{"mig=0:MIG-a", kPlain, Finding::State::absent, "MIG is on", ""},
             Case{"gpm=0;clock_error=3;memory_celsius=-1;throttled=74:0",
                  "clock_event_reasons,temperature,throttled_power_cap_ns", Finding::State::absent,
                  "Not Supported", ""},
             Case{"gpm=0;temperature_error=3;throttled=",
                  "sm_clock,memory_clock,clock_event_reasons,memory_temperature",
                  Finding::State::absent, "Not Supported", ""},
             Case{"gpm=0;clock_error=3;reasons_error=3;temperature_error=3;memory_celsius=-1;"
                  "throttled=",
                  "", Finding::State::absent, "throttling nor temperature: Not Supported", ""},
             Case{"gpm=0;clock_error=4;reasons_error=4;temperature_error=4;throttled=;"
                  "fields_error=4",
                  "", Finding::State::refused, "Insufficient Permissions", open_devices},
         }) {
        CAPTURE(c.script);
        const Fake fake((std::string("latency_us=0;") + c.script).c_str());
        const auto d = found();
        REQUIRE(!d.findings.empty());
        const Finding& last = d.findings.back();
        CHECK(last.state == c.state);
        CHECK_MESSAGE(last.why.find(c.why) != std::string::npos, last.why);
        CHECK(last.remedy == c.remedy);
        if (*c.fields == '\0') {
            CHECK(d.sources.empty());
            CHECK(d.findings.size() == 1);
        } else {
            REQUIRE(d.sources.size() == 1);
            CHECK(all_of(*d.sources[0]) == c.fields);
            CHECK(d.findings.size() == 2);
        }
    }
}

TEST_CASE("nvml_state: without a board, one finding that points to nvml") {
    const Fake fake("init_error=9");
    const auto d = found();
    CHECK(d.sources.empty());
    REQUIRE(d.findings.size() == 1);
    CHECK(d.findings[0].state == Finding::State::absent);
    CHECK(d.findings[0].why.find("nvml") != std::string::npos);
}

TEST_CASE("nvml_state: the boards are those of CUDA_VISIBLE_DEVICES") {
    const Fake fake("latency_us=0;gpus=3;arch=8");
    ::setenv("CUDA_VISIBLE_DEVICES", "2", 1);
    const auto d = found();
    ::unsetenv("CUDA_VISIBLE_DEVICES");
    REQUIRE(d.sources.size() == 1);
    CHECK(d.sources[0]->channels()[0].domain == "gpu:2");
}

TEST_CASE("nvml_state: troubles while reading") {
    const Fake fake("latency_us=0");
    const auto d = found();
    REQUIRE(d.sources.size() == 1);
    Source& source = *d.sources[0];
    SUBCASE("one call fails: the others are there") {
        fake.configure("keep=1;clock_error=999");
        const Look look(source);
        CHECK(look.status == ReadStatus::ok);
        CHECK_FALSE(look.raw("sm_clock").valid);
        CHECK(look.raw("throttled_power_cap_ns").valid);
        CHECK(source.failure().find("Unknown Error") != std::string::npos);
    }
    SUBCASE("permission withdrawn") {
        fake.configure("keep=1;denied_at_s=0");
        CHECK(Look(source).status == ReadStatus::denied);
        CHECK(source.failure().find("Insufficient Permissions") != std::string::npos);
    }
    SUBCASE("the board is lost") {
        fake.configure("keep=1;lost_at_s=0");
        CHECK(Look(source).status == ReadStatus::gone);
    }
    SUBCASE("GPM fails: it begins again once it works") {
        sleep_ms(105);
        CHECK(Look(source).raw("tensor_util").valid);
        fake.configure("keep=1;gpm_sample_error=999");
        sleep_ms(105);
        const Look failed(source);
        CHECK(failed.status == ReadStatus::ok);
        CHECK_FALSE(failed.raw("tensor_util").valid);
        fake.configure("keep=1;gpm_sample_error=0");
        CHECK_FALSE(Look(source).raw("tensor_util").valid);  // the first sample of a new pair
        sleep_ms(105);
        CHECK(Look(source).raw("tensor_util").valid);
    }
}

TEST_CASE("nvml_state: recorded at its own pace, whatever rate is asked for") {
    const Fake fake("latency_us=0;sm_mhz=1980;gpm_values=5:70");
    Engine& engine = Engine::instance();
    SessionOptions options;
    options.all_sources = false;
    options.sources = {"nvml_state"};
    options.rate_hz = 1000;
    const auto session = engine.begin(options);
    sleep_ms(250);
    const std::int64_t changed_ns = now_ns();
    fake.configure("keep=1;sm_mhz=1410;gpm_values=5:70");
    sleep_ms(1'400);
    engine.end(*session);
    REQUIRE(engine.wait(*session, 3 * kNsPerS));
    const Trace t = engine.trace(*session);
    engine.shutdown();
    CHECK(fake.least_ns() >= 100 * kNsPerMs);
    CHECK(t.gaps.empty());  // GPM's first sample is no gap
    const auto channel = [&](const char* field) {
        const auto at = std::ranges::find(t.channels, field, &Channel::field);
        REQUIRE(at != t.channels.end());
        return static_cast<std::uint16_t>(at - t.channels.begin());
    };
    // The starting point; where it changed; else, once a second, that it is still so.
    const auto check = [&](const char* field, std::uint64_t first, std::uint64_t then) {
        CAPTURE(field);
        std::vector<Record> rows;
        for (const Record& r : t.ticks) {
            if (r.id == channel(field)) rows.push_back(r);
        }
        REQUIRE(rows.size() >= 2);
        CHECK(rows[0].c == first);
        CHECK((rows[0].flags & tick_flag::kHeld) != 0);
        CHECK(rows.back().c == then);
        int changes = 0;
        for (std::size_t i = 1; i < rows.size(); ++i) {
            if ((rows[i].flags & tick_flag::kHeld) != 0) {
                CHECK(rows[i].c == rows[i - 1].c);
                CHECK(rows[i].a - rows[i - 1].a >= kNsPerS);
                CHECK(rows[i].b == rows[i - 1].a);  // the same ever since
                continue;
            }
            ++changes;
            CHECK(rows[i].c == then);
            CHECK(rows[i].b <= changed_ns);
            CHECK(rows[i].a >= changed_ns);
            CHECK(rows[i].b >= rows[i - 1].b);
        }
        CHECK(changes == (first == then ? 0 : 1));
    };
    check("sm_clock", 1980, 1410);
    check("memory_clock", 2619, 2619);
    check("tensor_util", 700'000, 700'000);
}
