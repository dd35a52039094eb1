// The clock of one sensor, learned from when its value was seen to change.
//
// A sensor publishes at phase + k * period, give or take its own jitter. From the first changes the
// clock is fitted; from then on the sampler sleeps until just before the next tick and polls finely
// only there, so that a 100 ms sensor costs a handful of reads a tick and yet each tick is known to
// some tens of microseconds.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/clock.h"

namespace picojoule {

// When to look next, and how finely.
struct PollPlan {
    std::int64_t at_ns{};
    bool hunting{};  // the period is not known yet
};

// Pure: it is told times and asked for times, and reads no clock. Not thread-safe.
class TickClock {
  public:
    // Looking this often finds every period of 5 ms and more. It is no divisor of the round periods
    // that sensors have: polls in step with the ticks would carry no information about their phase.
    static constexpr std::int64_t kHuntNs = 970'000;
    static constexpr std::int64_t kFinestNs = 40'000;
    static constexpr std::int64_t kLongestNs = 2 * kNsPerS;  // give up expecting a tick sooner

    // A change: the old value was last seen at old_ns, the new one first at new_ns.
    void tick(std::int64_t old_ns, std::int64_t new_ns) noexcept {
        double at = 0.5 * static_cast<double>(old_ns + new_ns);
        double width = static_cast<double>(new_ns - old_ns);
        if (count_++ == 0) {
            last_ = at;
            spread_ = width;
            return;
        }
        missed_ = 0;
        if (locked() && width > 6.0 * spread_ + 4.0 * kFinestNs && width > 0.02 * period_) {
            // The tick came before the first look of its window, or the sampler was held up: all
            // that is certain is that it lies in this wide bracket, most likely where it was
            // expected.
            const double turns = std::floor((static_cast<double>(new_ns) - last_) / period_ + 0.05);
            const double due = last_ + std::max(1.0, turns) * period_;
            at = std::clamp(due, static_cast<double>(old_ns), static_cast<double>(new_ns));
            width = 2.0 * (spread_ + std::abs(at - due));
            early();
        }
        const double step = at - last_;
        if (period_ <= 0.0) {
            period_ = step;
            spread_ = std::max(width, kHuntNs * 1.0);
            last_ = at;
            return;
        }
        const double turns = std::max(1.0, std::round(step / period_));
        // Far from every multiple: this is not the clock we thought. Start over from here.
        const double predicted = last_ + turns * period_;
        const double surprise = at - predicted;
        if (std::abs(surprise) > 0.25 * period_) {
            if (++strangers_ >= 3) {
                *this = TickClock();
                tick(old_ns, new_ns);
            }
            return;
        }
        strangers_ = 0;
        missed_ = static_cast<std::uint32_t>(turns) - 1;
        // Gains fall as evidence grows, down to a floor that follows slow drift of either clock. A
        // wide bracket says little and moves little.
        const double n = std::min<double>(count_, 24);
        const double trust = std::clamp(3.0 * spread_ / std::max(width, 1.0), 0.05, 1.0);
        last_ = predicted + std::max(0.35, 2.0 / n) * trust * surprise;
        period_ += std::max(0.06, 3.0 / (n * (n + 1.0))) * trust * surprise / turns;
        const double off = std::max(std::abs(surprise), 0.3 * width);
        spread_ += (off > spread_ ? 0.5 : count_ < 16 ? 0.5 : 0.25) * (off - spread_);
        spread_ = std::clamp(spread_, 0.5 * kFinestNs, 0.2 * period_);
    }

    // The tick came before the first look: the window opened too late.
    void early() noexcept { spread_ = std::min(2.0 * spread_ + kFinestNs, 0.2 * period_); }

    // When to look next, `now` being just after a look that saw the old value (or the tick itself).
    // `dither` in [0, 1) keeps looks from falling into step with the sensor.
    [[nodiscard]] PollPlan next(std::int64_t now, double dither, double cost_ns) const noexcept {
        const auto hunt = static_cast<std::int64_t>(kHuntNs * (0.9 + 0.2 * dither));
        if (!locked()) return {now + hunt, true};
        const double fine = spacing(cost_ns);
        double due = last_ + period_;
        // After a tick that nobody saw, look for the one after it, and remember how unsure that is.
        const double t = static_cast<double>(now);
        while (t > due + 0.5 * period_) due += period_;
        const double opens = due - 2.5 * spread_ - fine * (0.5 + dither);
        if (t < opens - 0.25 * fine) return {static_cast<std::int64_t>(opens), false};
        if (t < due + 4.0 * spread_) {
            return {now + static_cast<std::int64_t>(fine * (0.75 + 0.5 * dither)), false};
        }
        // Late: look ever more rarely until half a period has gone by.
        const double overdue = t - due;
        return {now + static_cast<std::int64_t>(std::max(fine, 0.35 * overdue)), false};
    }

    [[nodiscard]] bool locked() const noexcept { return period_ > 0.0 && count_ >= 3; }
    [[nodiscard]] std::int64_t period_ns() const noexcept {
        return static_cast<std::int64_t>(period_);
    }
    [[nodiscard]] std::int64_t last_ns() const noexcept { return static_cast<std::int64_t>(last_); }
    // Ticks that passed unseen before the last one.
    [[nodiscard]] std::uint32_t missed() const noexcept { return missed_; }
    // The opening edge of the search window for the coming tick lies this far before it.
    [[nodiscard]] std::int64_t guard_ns() const noexcept {
        return static_cast<std::int64_t>(2.5 * spread_);
    }

  private:
    // Fine enough to place the tick within its own jitter, but never so fine that looking costs
    // more than a quarter of a percent of a core.
    [[nodiscard]] double spacing(double cost_ns) const noexcept {
        const double affordable = std::max(6.0, 0.0022 * period_ / std::max(cost_ns, 1.0) - 2.0);
        const double window = 5.0 * spread_;
        // Twice as fine at first, when there is most to learn.
        const double haste = count_ < 16 ? 0.5 : 1.0;
        return std::clamp(haste * std::max(window / affordable, 0.8 * spread_), 1.0 * kFinestNs,
                          std::max(1.0 * kFinestNs, period_ / 10.0));
    }

    double period_{};
    double last_{};
    double spread_{};  // how far ticks fall from where they were expected
    std::uint32_t count_{};
    std::uint32_t missed_{};
    std::uint32_t strangers_{};
};

}  // namespace picojoule
