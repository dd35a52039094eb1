#include "base/counter.h"

#include <doctest/doctest.h>

#include <random>
#include <vector>

using picojoule::CounterEvent;
using picojoule::UnwrappedCounter;

TEST_CASE("counter: the first reading is a start, never an increment") {
    UnwrappedCounter c(1000);
    const auto step = c.update(999);
    CHECK(step.event == CounterEvent::first);
    CHECK(step.delta == 0);
    CHECK(c.total() == 0);
    CHECK(c.last_raw() == 999);
}

TEST_CASE("counter: table of steps") {
    struct Row {
        std::uint64_t wrap_at, from, to;
        CounterEvent event;
        std::uint64_t delta;
    };
    constexpr std::uint64_t kMax = ~std::uint64_t{0};
    constexpr std::uint64_t kRapl = 262'143'328'850 + 1;
    const Row rows[] = {
        {0, 5, 5, CounterEvent::advanced, 0},
        {0, 5, 9, CounterEvent::advanced, 4},
        {0, 0, kMax, CounterEvent::advanced, kMax},
        {0, 9, 5, CounterEvent::reset, 0},
        {1000, 990, 10, CounterEvent::wrapped, 20},
        {1000, 999, 0, CounterEvent::wrapped, 1},
        {1000, 600, 99, CounterEvent::wrapped, 499},
        {1000, 600, 100, CounterEvent::reset, 0},
        {1000, 20, 10, CounterEvent::reset, 0},
        {1000, 0, 999, CounterEvent::advanced, 999},
        {kRapl, kRapl - 1, 0, CounterEvent::wrapped, 1},
        {kRapl, kRapl - 7, 1'000'000, CounterEvent::wrapped, 1'000'007},
        {kMax, kMax - 1, 3, CounterEvent::wrapped, 4},
        {1ULL << 32U, 0xffff'ffffU, 41, CounterEvent::wrapped, 42},
    };
    for (const Row& r : rows) {
        CAPTURE(r.wrap_at);
        CAPTURE(r.from);
        CAPTURE(r.to);
        UnwrappedCounter c(r.wrap_at);
        c.update(r.from);
        const auto step = c.update(r.to);
        CHECK(step.event == r.event);
        CHECK(step.delta == r.delta);
        CHECK(c.total() == r.delta);
    }
}

TEST_CASE("counter: after a reset it counts on from the new value") {
    UnwrappedCounter c;
    c.update(100);
    c.update(150);
    CHECK(c.update(10).event == CounterEvent::reset);
    c.update(17);
    CHECK(c.total() == 57);
}

TEST_CASE("counter: random walks agree with arithmetic too wide to wrap") {
    __extension__ using Wide = unsigned __int128;
    std::mt19937_64 random(20240607);
    for (int walk = 0; walk < 300; ++walk) {
        const std::uint64_t wrap_at = (random() >> (random() % 56)) | 8U;
        Wide truth = random() % wrap_at;
        const Wide start = truth;
        UnwrappedCounter c(wrap_at);
        c.update(static_cast<std::uint64_t>(truth % wrap_at));
        unsigned wraps = 0;
        for (int i = 0; i < 500; ++i) {
            // A total beyond 64 bits is nobody's energy.
            const Wide step = random() % std::max<std::uint64_t>(wrap_at / 2, 1);
            if (truth + step - start > Wide{~std::uint64_t{0}}) break;
            const Wide turns = truth / wrap_at;
            truth += step;
            const auto got = c.update(static_cast<std::uint64_t>(truth % wrap_at));
            const bool wrapped = truth / wrap_at != turns;
            wraps += wrapped ? 1U : 0U;
            REQUIRE(got.event == (wrapped ? CounterEvent::wrapped : CounterEvent::advanced));
            REQUIRE(Wide{got.delta} == step);
            REQUIRE(Wide{c.total()} == truth - start);
        }
        if (wrap_at < (1ULL << 50U)) CHECK(wraps > 0);
    }
}
