// A cumulative hardware counter that cannot lie about its first reading: the first value is a
// starting point and never an increment ("energy since boot" is not "energy since start").
#pragma once

#include <cstdint>

namespace picojoule {

enum class CounterEvent : std::uint8_t {
    first,     // nothing to compare with yet
    advanced,  // delta is the increment (0: unchanged)
    wrapped,   // the register rolled over once; delta already includes that
    reset,     // the counter started anew (driver reload, GPU reset): delta is not known
};

struct CounterStep {
    CounterEvent event{};
    std::uint64_t delta{};
};

// Unwraps a counter of modulus `wrap_at` (values 0..wrap_at-1; 0: it never wraps).
//
// A decrease means either a wrap or a reset. It is taken for a wrap if the implied increment is
// less than half the range, the only reading that a poller faster than the counter can produce;
// anything else is a reset, whose increment nobody knows.
class UnwrappedCounter {
  public:
    explicit constexpr UnwrappedCounter(std::uint64_t wrap_at = 0) noexcept : wrap_at_(wrap_at) {}

    constexpr CounterStep update(std::uint64_t reading) noexcept {
        if (!started_) {
            started_ = true;
            last_ = reading;
            return {CounterEvent::first, 0};
        }
        const std::uint64_t previous = last_;
        last_ = reading;
        if (reading >= previous) {
            total_ += reading - previous;
            return {CounterEvent::advanced, reading - previous};
        }
        if (wrap_at_ != 0) {
            const std::uint64_t delta = wrap_at_ - previous + reading;
            if (delta < wrap_at_ / 2) {
                total_ += delta;
                return {CounterEvent::wrapped, delta};
            }
        }
        return {CounterEvent::reset, 0};
    }

    // Sum of all known increments since the first reading.
    [[nodiscard]] constexpr std::uint64_t total() const noexcept { return total_; }
    [[nodiscard]] constexpr std::uint64_t last_raw() const noexcept { return last_; }

  private:
    std::uint64_t wrap_at_;
    std::uint64_t last_{};
    std::uint64_t total_{};
    bool started_{};
};

}  // namespace picojoule
