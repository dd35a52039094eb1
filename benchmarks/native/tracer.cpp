// What tracing costs: nanoseconds added to a launch, and records a second taken in by one core.
// Argument: the fake CUPTI to load. Nothing here is a GPU.
#include <dlfcn.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "../../tests/fakes/fake_cupti.h"
#include "base/clock.h"
#include "tracers/cupti_decoder.h"
#include "tracers/cupti_tracer.h"
#include "tracers/launch_ring.h"

using namespace picojoule;

namespace {

thread_local std::uint32_t t_path = 0;
std::uint32_t current_path() noexcept {
    return t_path;
}

// Adds up, as a recorder would: one cell for each (path, class).
struct Cells final : ActivitySink {
    struct Cell {
        std::uint64_t key, n, ns;
    };
    std::vector<Cell> cells = std::vector<Cell>(1U << 16U);
    std::uint32_t classes = 0;
    std::uint16_t tracks = 0;

    std::uint32_t class_id(const KernelClass&) override { return ++classes; }
    std::uint16_t track_id(const Track&) override { return tracks++; }
    void activities(std::span<const ActivityRecord> some) noexcept override {
        for (const ActivityRecord& a : some) {
            const std::uint64_t key = static_cast<std::uint64_t>(a.path) << 32U | a.class_id;
            std::size_t i = (key * 0x9e3779b97f4a7c15U) >> 48U;
            while (cells[i].key != key && cells[i].key != 0) i = (i + 1) & (cells.size() - 1);
            cells[i].key = key;
            ++cells[i].n;
            cells[i].ns += static_cast<std::uint64_t>(a.end_ns - a.begin_ns);
        }
    }
    void note(const TracerCounters&) noexcept override {}
    [[nodiscard]] std::uint64_t sum() const {
        std::uint64_t n = 0;
        for (const Cell& c : cells) n += c.n;
        return n;
    }
};

// This thread's own time: "a second and core" is one that the core had for it.
std::int64_t core_ns() {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

// ---- launches ----

struct Launches {
    double bare_ns, traced_ns;
    std::uint64_t lost;
};

Launches launches(void* library) {
    const auto launch =
        reinterpret_cast<decltype(&fake_cupti_launch)>(::dlsym(library, "fake_cupti_launch"));
    FakeLaunch l{};
    l.call = 307;
    l.domain = 1;
    l.name = "kernel";
    // Ten thousand at once, then a pause: 100,000 a second and more, as a training loop does.
    const auto burst = [&] {
        constexpr int kBurst = 10'000;
        const std::int64_t begin = now_ns();
        for (int i = 0; i < kBurst; ++i) launch(&l);
        const auto ns = static_cast<double>(now_ns() - begin) / kBurst;
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        return ns;
    };
    std::vector<double> bare;
    std::vector<double> traced;
    Cells sink;
    const auto tracer = cupti::make_tracer({});
    TracerSetup setup;
    setup.sink = &sink;
    setup.current_path = current_path;
    setup.driver_branch = 580;
    t_path = 5;
    std::uint64_t lost = 0;
    for (int round = 0; round < 10; ++round) {
        for (int i = 0; i < 5; ++i) bare.push_back(burst());
        if (!tracer->start(setup).tracing()) return {};
        for (int i = 0; i < 5; ++i) traced.push_back(burst());
        tracer->stop(0);
        lost += tracer->counters().launches_lost;
    }
    return {median(bare), median(traced), lost};
}

// ---- records ----

constexpr std::size_t kRecord = 216;
constexpr std::size_t kBuffer = std::size_t{4} << 20U;
constexpr std::size_t kInBuffer = kBuffer / kRecord;
constexpr std::size_t kBuffers = 16;

void fill(std::uint8_t* bytes, std::uint32_t first, std::uint32_t classes) {
    static const char* const kNames[] = {"gemm", "softmax", "layer_norm", "gelu", "copy"};
    for (std::size_t i = 0; i < kInBuffer; ++i) {
        cupti::KernelPrefix k{};
        k.kind = cupti::kConcurrentKernel;
        k.start = 1'000'000 + (first + i) * 1'000;
        k.end = k.start + 900;
        k.stream = static_cast<std::uint32_t>(7 + i % 4);
        const auto which = static_cast<std::uint32_t>(i * 7 % classes);
        k.grid[0] = which + 1;
        k.block[0] = 128;
        k.name = kNames[which % 5];
        k.correlation = first + static_cast<std::uint32_t>(i);
        std::memset(bytes + i * kRecord, 0x5a, kRecord);
        std::memcpy(bytes + i * kRecord, &k, sizeof k);
    }
}

// Stands in for the library's, which is a call through a pointer too.
__attribute__((noinline)) int step(std::uint8_t* buffer, std::size_t valid, void** record) {
    auto* next = *record == nullptr ? buffer : static_cast<std::uint8_t*>(*record) + kRecord;
    if (next >= buffer + valid) return cupti::kMaxLimitReached;
    *record = next;
    return cupti::kSuccess;
}
int (*volatile g_next)(std::uint8_t*, std::size_t, void**) = step;

double million_a_second(std::uint32_t classes) {
    const auto next = g_next;
    std::vector<std::unique_ptr<std::uint8_t[]>> buffers;
    for (std::size_t b = 0; b < kBuffers; ++b) buffers.emplace_back(new std::uint8_t[kBuffer]);
    std::vector<double> rates;
    for (int round = 0; round < 9; ++round) {
        for (std::size_t b = 0; b < kBuffers; ++b) {
            fill(buffers[b].get(), static_cast<std::uint32_t>(1 + b * kInBuffer), classes);
        }
        Cells sink;
        cupti::Decoder decoder(sink, {}, 0);
        for (std::int64_t i = 0; i < 100; ++i)
            decoder.clock().add(i * 10'000'000, i * 10'000'000, 9);
        LaunchRing ring;
        std::uint32_t id = 1;
        std::int64_t spent = 0;
        for (std::size_t b = 0; b < kBuffers; ++b) {
            for (std::size_t i = 0; i < kInBuffer; ++i, ++id) ring.launch(1, id, 1 + id % 40);
            const std::int64_t begin = core_ns();
            ring.drain(1, decoder);
            void* record = nullptr;
            while (next(buffers[b].get(), kInBuffer * kRecord, &record) == 0) {
                decoder.record(record, 0);
            }
            decoder.settle(0);
            decoder.emit();
            std::memset(buffers[b].get(), 0, kInBuffer * kRecord);  // as when it is given back
            spent += core_ns() - begin;
        }
        if (sink.sum() != kBuffers * kInBuffer || decoder.counters().unmatched != 0) return 0;
        rates.push_back(static_cast<double>(kBuffers * kInBuffer) * 1e3 /
                        static_cast<double>(spent));
    }
    return median(rates);
}

}  // namespace

int main(int, char** argv) {
    void* library = ::dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
    if (library == nullptr) return 1;
    const auto configure =
        reinterpret_cast<decltype(&fake_cupti_configure)>(::dlsym(library, "fake_cupti_configure"));
    configure("version=130001");
    const Launches l = launches(library);
    const double few = million_a_second(50);
    const double many = million_a_second(2'000);
    std::printf(
        "{\"launch_bare_ns\": %.2f, \"launch_traced_ns\": %.2f, \"launches_lost\": %llu, "
        "\"records_50_classes_m_per_s\": %.2f, \"records_2000_classes_m_per_s\": %.2f}\n",
        l.bare_ns, l.traced_ns, static_cast<unsigned long long>(l.lost), few, many);
}
