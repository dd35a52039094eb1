#include "recorder/tick_clock.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <vector>

using namespace picojoule;

namespace {

struct Outcome {
    double median_error_us{};
    double polls_a_tick{};
    int unseen{};
};

// A sensor on a virtual clock, polled as TickClock asks; sleeping overshoots a little, as it does.
Outcome run(double period_ms, double jitter_us, double missed, double drift_ppm, unsigned seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> uniform;
    TickClock clock;
    constexpr int kTicks = 400;
    std::vector<double> ticks;
    for (int k = 0; k < kTicks; ++k) {
        const double at = (3.7 + k * period_ms * (1 + drift_ppm * 1e-6 * k / kTicks)) * 1e6 +
                          normal(random) * jitter_us * 1e3;
        if (k < 3 || uniform(random) >= missed) ticks.push_back(at);
    }
    Outcome out;
    std::vector<double> errors;
    std::size_t next = 0;
    std::int64_t now = 0, old = 0;
    int polls = 0, counted = 0;
    while (next < ticks.size()) {
        const std::int64_t at = clock.next(now, uniform(random), 26'000).at_ns;
        REQUIRE(at > now);
        now = at + static_cast<std::int64_t>(8'000 + 20'000 * uniform(random));
        ++polls;
        std::size_t seen = next;
        while (seen < ticks.size() && ticks[seen] <= static_cast<double>(now)) ++seen;
        if (seen > next) {
            out.unseen += static_cast<int>(seen - next) - 1;
            if (next > 20) {
                errors.push_back(std::abs(0.5 * static_cast<double>(old + now) - ticks[seen - 1]) *
                                 1e-3);
                ++counted;
            } else {
                polls = 0;
            }
            clock.tick(old, now);
            next = seen;
        }
        old = now;
    }
    std::sort(errors.begin(), errors.end());
    out.median_error_us = errors[errors.size() / 2];
    out.polls_a_tick = static_cast<double>(polls) / counted;
    return out;
}

}  // namespace

TEST_CASE("a regular sensor is followed with few looks and small brackets") {
    for (const double period : {20.0, 99.96, 101.2, 250.0}) {
        CAPTURE(period);
        const Outcome o = run(period, 20, 0.0, 0.0, 1);
        CHECK(o.median_error_us < 50);
        CHECK(o.polls_a_tick < 10);
        CHECK(o.unseen == 0);
    }
}

TEST_CASE("jitter, missed ticks and drift do not break the lock") {
    const Outcome jittery = run(100, 400, 0.0, 0.0, 2);
    CHECK(jittery.median_error_us < 250);
    CHECK(jittery.polls_a_tick < 14);
    const Outcome missing = run(100, 50, 0.05, 0.0, 3);
    CHECK(missing.median_error_us < 80);
    CHECK(missing.unseen == 0);
    const Outcome drifting = run(100, 20, 0.0, 500, 4);
    CHECK(drifting.median_error_us < 80);
    CHECK(drifting.unseen == 0);
}

TEST_CASE("looks are never in step with the ticks") {
    std::mt19937_64 random(5);
    std::uniform_real_distribution<double> uniform;
    TickClock clock;
    std::vector<std::int64_t> steps;
    std::int64_t now = 0;
    for (int i = 0; i < 200; ++i) {
        const auto plan = clock.next(now, uniform(random), 26'000);
        CHECK(plan.hunting);
        steps.push_back(plan.at_ns - now);
        now = plan.at_ns;
    }
    std::sort(steps.begin(), steps.end());
    CHECK(steps.back() - steps.front() > 100'000);
    CHECK(steps.back() < 1'200'000);
}
