// When ticks were, against sensors whose ticks are known: the doubt claimed must be the doubt there
// is, above all where looks fall alike around every tick.
#include "analysis/sensor_clock.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <random>

using namespace picojoule;

namespace {

struct Seen {
    std::vector<double> truth;
    std::vector<Bracket> brackets;
};

struct Quality {
    double rms_z{};      // of errors in units of their claimed standard deviation
    double covered{};    // share of errors within 1.96 of them
    double rms_error{};  // ns
};

using Sensor = std::function<Seen(std::mt19937_64&)>;

Quality judge(const Sensor& sensor, int runs, double guess = 1e8) {
    std::mt19937_64 random(7);
    double z2 = 0.0;
    double e2 = 0.0;
    double inside = 0.0;
    double count = 0.0;
    for (int run = 0; run < runs; ++run) {
        const Seen seen = sensor(random);
        const ClockFit fit = fit_sensor_clock(seen.brackets, guess);
        REQUIRE(fit.time_ns.size() == seen.truth.size());
        for (std::size_t k = 0; k < seen.truth.size(); ++k) {
            const double error = fit.time_ns[k] - seen.truth[k];
            REQUIRE(fit.std_ns[k] > 0.0);
            const double z = error / fit.std_ns[k];
            z2 += z * z;
            e2 += error * error;
            inside += std::abs(z) <= 1.96 ? 1.0 : 0.0;
            count += 1.0;
        }
    }
    return {std::sqrt(z2 / count), inside / count, std::sqrt(e2 / count)};
}

double uniform(std::mt19937_64& random, double lo, double hi) {
    return std::uniform_real_distribution<double>(lo, hi)(random);
}

// `ticks` of a sensor with that jitter, in brackets of that width at a random place each.
Sensor plain(int ticks, double jitter, double width, double walk = 0.0, double miss = 0.0) {
    return [=](std::mt19937_64& random) {
        Seen seen;
        std::normal_distribution<double> gauss;
        const double period = 1e8 * uniform(random, 0.97, 1.03);
        double phase = uniform(random, 0.0, 1e8);
        for (int k = 0; k < ticks; ++k) {
            phase += period + walk * gauss(random);
            if (uniform(random, 0.0, 1.0) < miss) continue;
            const double at = phase + jitter * gauss(random);
            const double old = at - uniform(random, 0.0, width);
            seen.truth.push_back(at);
            seen.brackets.push_back({old, old + width, false});
        }
        return seen;
    };
}

void is_honest(const Quality& q) {
    INFO("rms z " << q.rms_z << ", covered " << q.covered << ", rms error " << q.rms_error);
    CHECK(q.covered >= 0.93);
    CHECK(q.rms_z <= 1.1);
}

}  // namespace

TEST_CASE("doubt is neither hidden nor invented") {
    for (const int ticks : {2, 3, 5, 12, 50, 300}) {
        for (const double jitter : {0.0, 5e4, 2e6}) {
            for (const double width : {8e4, 1e6, 3e7}) {
                CAPTURE(ticks);
                CAPTURE(jitter);
                CAPTURE(width);
                const Quality q = judge(plain(ticks, jitter, width), 60);
                is_honest(q);
                CHECK(q.rms_z >= 0.35);
                CHECK(q.rms_error <= 0.36 * width);  // a bracket alone gives 0.29
            }
        }
    }
}

TEST_CASE("many ticks of a steady clock place each far better than its bracket") {
    CHECK(judge(plain(100, 0.0, 1e6), 30).rms_error < 0.06 * 1e6);
    CHECK(judge(plain(100, 2e4, 1e6), 30).rms_error < 0.1 * 1e6);
}

TEST_CASE("looks that fall alike around every tick are no evidence of where it is") {
    for (const double place : {0.02, 0.2, 0.5, 0.9}) {
        CAPTURE(place);
        const Quality q = judge(
            [place](std::mt19937_64& random) {
                Seen seen;
                const double phase = uniform(random, 0.0, 1e8);
                for (int k = 0; k < 60; ++k) {
                    const double at = phase + 1e8 * k;
                    const double old = at - 1e6 * (place + uniform(random, 0.0, 0.02));
                    seen.truth.push_back(at);
                    seen.brackets.push_back({old, old + 1e6, false});
                }
                return seen;
            },
            20);
        INFO("rms z " << q.rms_z);
        CHECK(q.rms_z <= 1.85);  // inside a uniform distribution nothing is farther than 1.73
    }
}

TEST_CASE("a clock that wanders is followed") {
    is_honest(judge(plain(80, 0.0, 1e5, 1e5), 40));
    is_honest(judge(plain(80, 3e4, 1e6, 1e6), 40));
}

TEST_CASE("ticks that nobody saw are counted") {
    const Quality q = judge(plain(100, 5e4, 1e6, 0.0, 0.3), 40);
    is_honest(q);
    CHECK(q.rms_error < 0.15 * 1e6);
}

TEST_CASE("a sampler held up now and then leans on the clock") {
    const Quality q = judge(
        [](std::mt19937_64& random) {
            Seen seen = plain(100, 2e4, 1e5)(random);
            for (std::size_t k = 3; k < seen.brackets.size(); k += 7) {
                seen.brackets[k].old_ns -= uniform(random, 0.0, 4e7);
                seen.brackets[k].new_ns += uniform(random, 0.0, 4e7);
            }
            return seen;
        },
        30);
    is_honest(q);
    CHECK(q.rms_error < 5e4);
}

TEST_CASE("a clock set anew in the middle is found again") {
    for (const bool told : {false, true}) {
        CAPTURE(told);
        const Quality q = judge(
            [told](std::mt19937_64& random) {
                Seen seen = plain(60, 1e4, 1e5)(random);
                const double jump = uniform(random, 1e7, 9e7);
                for (std::size_t k = 30; k < 60; ++k) {
                    seen.truth[k] += jump;
                    seen.brackets[k].old_ns += jump;
                    seen.brackets[k].new_ns += jump;
                }
                seen.brackets[30].fresh = told;
                return seen;
            },
            30);
        is_honest(q);
        CHECK(q.rms_error < 4e4);
    }
}

TEST_CASE("whatever comes in, times lie in their brackets") {
    std::mt19937_64 random(11);
    for (int run = 0; run < 200; ++run) {
        std::vector<Bracket> brackets;
        double at = 0.0;
        const auto n = static_cast<int>(uniform(random, 0.0, 40.0));
        for (int k = 0; k < n; ++k) {
            const double old = at;
            at += std::pow(10.0, uniform(random, 0.0, 10.0));
            brackets.push_back({old, at, uniform(random, 0.0, 1.0) < 0.1});
        }
        const double guess = std::pow(10.0, uniform(random, 3.0, 9.5));
        const ClockFit fit = fit_sensor_clock(brackets, guess);
        for (std::size_t k = 0; k < brackets.size(); ++k) {
            const double slack = 1e-6 * (1.0 + std::abs(at));
            CHECK(fit.time_ns[k] >= brackets[k].old_ns - slack);
            CHECK(fit.time_ns[k] <= brackets[k].new_ns + slack);
            CHECK(std::isfinite(fit.std_ns[k]));
        }
    }
}
