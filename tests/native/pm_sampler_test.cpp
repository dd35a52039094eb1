// PM sampling against the scripted CUPTI: device time goes on when the test says so, and each
// metric grows at a rate that the test has set.
#include "counters/pm_sampler.h"

#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "counters_fake.h"

using namespace picojoule;
using namespace picojoule::counters;
using picojoule::testing::CounterFake;

namespace {

struct Taken {
    std::mutex mutex;
    std::vector<PmSample> samples;
    std::vector<double> values;

    PmSink sink() {
        return [this](std::span<const PmSample> s, std::span<const double> v) {
            const std::lock_guard lock(mutex);
            samples.insert(samples.end(), s.begin(), s.end());
            values.insert(values.end(), v.begin(), v.end());
        };
    }
    std::size_t count() {
        const std::lock_guard lock(mutex);
        return samples.size();
    }
    void wait_for(std::size_t n) {
        for (int i = 0; i < 2000 && count() < n; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        CHECK(count() >= n);
    }
};

std::unique_ptr<PmSampler> begin(Taken& taken, PmOptions options = {}) {
    Refusal refusal;
    auto sampler = PmSampler::start(CounterFake::library(), options, taken.sink(), refusal);
    REQUIRE_MESSAGE(sampler != nullptr, refusal.words);
    return sampler;
}

std::string refused(PmOptions options = {}) {
    Taken taken;
    Refusal refusal;
    auto sampler = PmSampler::start(CounterFake::library(), options, taken.sink(), refusal);
    CHECK(sampler == nullptr);
    return refusal.words + " | " + refusal.remedy;
}

bool has(const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
}

std::size_t column(const PmSet& set, const std::string& quantity) {
    for (std::size_t i = 0; i < set.metrics.size(); ++i) {
        if (set.metrics[i].quantity == quantity) return i;
    }
    FAIL("no such quantity: ", quantity);
    return 0;
}

}  // namespace

TEST_CASE("pm sampler: every sample but the first, in our clock, with its values") {
    const CounterFake fake;
    fake.set_clock(5 * kNsPerS);  // the library's clock is another one
    fake.rate("dram__bytes_read.sum", 2.0);
    Taken taken;
    PmOptions options;
    options.interval_ns = 100'000;
    const std::int64_t before = now_ns();
    auto sampler = begin(taken, options);
    CHECK(sampler->status().chip == "GH100");
    CHECK(sampler->status().set == "GH100-B");
    CHECK(fake.interval() == 100'000);
    CHECK(fake.trigger() == kTimeInterval);
    CHECK(fake.append() == kKeepLatest);
    fake.advance(500);
    taken.wait_for(499);
    fake.advance(1);
    sampler->stop();  // delivers what is there
    CHECK(taken.count() == 500);
    CHECK(sampler->status().samples == 500);
    CHECK(sampler->status().discarded == 1);
    CHECK(sampler->status().overflows == 0);
    CHECK(sampler->status().gaps == 0);
    CHECK_FALSE(sampler->status().refusal);
    CHECK(sampler->status().clock_doubt_ns < 10 * kNsPerMs);

    const std::size_t width = sampler->set().metrics.size();
    REQUIRE(taken.values.size() == 500 * width);
    const std::size_t bytes = column(sampler->set(), "dram_read_bytes");
    for (std::size_t i = 0; i < 500; ++i) CHECK(taken.values[i * width + bytes] == 200'000);
    const std::int64_t first = taken.samples.front().begin_ns;
    CHECK(first > before);  // had the offset been left in, it would be 5 s later than now
    CHECK(first < now_ns() + kNsPerS);
    for (std::size_t i = 1; i < taken.samples.size(); ++i) {
        CHECK(taken.samples[i].begin_ns - taken.samples[i - 1].end_ns < 1000);
    }
    sampler.reset();
    CHECK(fake.sessions() == 0);
    CHECK(std::string(fake.violations()).empty());
}

TEST_CASE("pm sampler: an image that is full is emptied at once") {
    const CounterFake fake;
    Taken taken;
    PmOptions options;
    options.samples_a_decode = 8;
    options.decode_every_ns = 3600 * kNsPerS;  // that is, at the end only
    auto sampler = begin(taken, options);
    fake.advance(1001);
    sampler->stop();
    CHECK(taken.count() == 1000);
}

TEST_CASE("pm sampler: a ring that was written over says so by a gap") {
    const CounterFake fake("sample_bytes=1048576");  // 64 samples fit
    Taken taken;
    auto sampler = begin(taken);
    fake.advance(10);
    taken.wait_for(9);
    fake.advance(1000);
    taken.wait_for(9 + 64);
    sampler->stop();
    CHECK(sampler->status().ring);
    CHECK(sampler->status().gaps == 1);
    CHECK(taken.count() == 9 + 64);
}

TEST_CASE("pm sampler: before 12.8 a full buffer is counted and sampling starts again") {
    const CounterFake fake("sample_bytes=1048576", "version=24");
    Taken taken;
    auto sampler = begin(taken);
    CHECK(fake.append() == -1);  // the older, shorter struct
    CHECK_FALSE(sampler->status().ring);
    fake.advance(1000);
    taken.wait_for(63);
    for (int i = 0; i < 2000 && sampler->status().overflows == 0; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK(sampler->status().overflows == 1);
    // As the start is asynchronous, device time may pass before it.
    for (int i = 0; i < 2000 && taken.count() < 63 + 5; ++i) {
        fake.advance(1);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    sampler->stop();
    CHECK(taken.count() >= 63 + 5);
    CHECK(sampler->status().gaps >= 1);
    CHECK(sampler->status().discarded >= 2);  // the first after each start
    CHECK(std::string(fake.violations()).empty());
}

TEST_CASE("pm sampler: GA100 and Turing are paced by the system clock, Turing without a ring") {
    {
        const CounterFake fake("chip=GA100");
        Taken taken;
        auto sampler = begin(taken);
        CHECK(fake.trigger() == kSysclkInterval);
        CHECK(fake.append() == kKeepLatest);
        CHECK(sampler->status().by_sysclk);
    }
    {
        const CounterFake fake("chip=TU102");
        Taken taken;
        auto sampler = begin(taken);
        CHECK(fake.trigger() == kSysclkInterval);
        CHECK(fake.append() == kKeepOldest);
        CHECK_FALSE(sampler->status().ring);
    }
}

TEST_CASE("pm sampler: what an older library does not have is left out and named") {
    const CounterFake fake("unknown=dram__bytes");
    fake.rate("TPC.TriageCompute.sm__cycles_active.sum", 3.0);
    const PmSet whole = pm_sets("GH100").front();
    for (const PmMetric& metric : whole.metrics) {
        fake.base(std::string(base_name(metric.name)).c_str());
    }
    Taken taken;
    auto sampler = begin(taken);
    CHECK(sampler->status().missing ==
          std::vector<std::string>{"dram_read_bytes", "dram_write_bytes"});
    const std::size_t width = sampler->set().metrics.size();
    CHECK(width == whole.metrics.size() - 2);
    fake.advance(11);
    sampler->stop();
    REQUIRE(taken.values.size() == 10 * width);
    CHECK(taken.values[9 * width + column(sampler->set(), "sm_cycles")] == 600'000);
}

TEST_CASE("pm sampler: a metric's name without its roll-up") {
    CHECK(base_name("dram__bytes_read.sum") == "dram__bytes_read");
    CHECK(base_name("gpc__cycles_elapsed.avg.per_second") == "gpc__cycles_elapsed");
    CHECK(base_name("TPC.TriageCompute.sm__cycles_active.sum") ==
          "TPC.TriageCompute.sm__cycles_active");
}

TEST_CASE("pm sampler: a set by its name") {
    const CounterFake fake;
    Taken taken;
    PmOptions options;
    options.set = "GH100-A";
    CHECK(begin(taken, options)->status().set == "GH100-A");
    options.set = "AD102";
    CHECK(has(refused(options), "no set AD102 for the chip GH100 | take GH100-B"));
}

TEST_CASE("pm sampler: refusals, each with what mends it") {
    const std::map<std::string, std::string> cases = {
        {"pm_enable=35", "NVreg_RestrictProfilingToAdminUsers=0"},
        {"pm_enable=40", "virtual GPU"},
        {"pm_enable=27", "not possible on this device"},
        {"foreign=1", "being read already"},
        {"chip=GV100", "no set of counters for the chip GV100"},
        {"unknown=dram__bytes_read", "does not have all counters"},
        {"pm_passes=2", "2 passes"},
    };
    for (const auto& [how, words] : cases) {
        const CounterFake fake(how.c_str());
        const std::string got = refused();
        CHECK_MESSAGE(has(got, words.c_str()), how, ": ", got);
        CHECK(fake.sessions() == 0);
        CHECK(std::string(fake.violations()).empty());
    }
}

TEST_CASE("pm sampler: without a driver that is what is said") {
    const CounterFake fake;
    Taken taken;
    Refusal refusal;
    CHECK(PmSampler::start(CounterFake::without_driver(), {}, taken.sink(), refusal) == nullptr);
    CHECK(has(refusal.words, "no NVIDIA driver"));
}

TEST_CASE("pm sampler: one a device") {
    const CounterFake fake;
    Taken taken;
    auto first = begin(taken);
    CHECK(has(refused(), "device 0 already"));
    PmOptions other;
    other.device = 1;
    Taken more;
    auto second = begin(more, other);
    first.reset();
    first = begin(taken);
    CHECK(fake.sampling() == 2);
}

TEST_CASE("pm sampler: ended without a sample, and twice") {
    const CounterFake fake;
    Taken taken;
    auto sampler = begin(taken);
    sampler->stop();
    sampler->stop();
    CHECK(taken.count() == 0);
    CHECK(fake.sampling() == 0);
    sampler.reset();
    CHECK(std::string(fake.violations()).empty());
}
