// An append-only list of records with stable positions, whose oldest part grows coarser instead of
// growing without bound.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "model/record.h"

namespace picojoule {

// Not thread-safe: the engine's lock guards it.
class Log {
  public:
    // Records held before the older half is thinned: 2^17 * 32 B = 4 MiB.
    static constexpr std::size_t kMost = std::size_t{1} << 17U;

    [[nodiscard]] std::uint64_t begin() const noexcept { return base_; }
    [[nodiscard]] std::uint64_t end() const noexcept { return base_ + records_.size(); }

    void append(const Record& record) { records_.push_back(record); }

    // Records of positions [from, to), as far as they still exist.
    [[nodiscard]] std::span<const Record> slice(std::uint64_t from,
                                                std::uint64_t to) const noexcept {
        from = std::clamp(from, begin(), end());
        to = std::clamp(to, from, end());
        return std::span(records_).subspan(from - base_, to - from);
    }

    // Forgets everything before `position`.
    void trim(std::uint64_t position) {
        position = std::clamp(position, begin(), end());
        const std::uint64_t n = position - base_;
        if (n < 4096 || n < records_.size() / 2) return;  // amortised
        records_.erase(records_.begin(), records_.begin() + static_cast<std::ptrdiff_t>(n));
        base_ = position;
    }

    [[nodiscard]] bool full() const noexcept { return records_.size() >= kMost; }

    // Replaces the older half by what `thin` makes of it. Positions in the newer half stay valid;
    // those in the older half then mean "its beginning".
    template <class Thin>
    void thin_older_half(Thin&& thin) {
        const std::size_t half = records_.size() / 2;
        std::vector<Record> older(records_.begin(),
                                  records_.begin() + static_cast<std::ptrdiff_t>(half));
        thin(older);
        const std::size_t kept = std::min(older.size(), half);
        std::copy_n(older.begin(), kept, records_.begin());
        records_.erase(records_.begin() + static_cast<std::ptrdiff_t>(kept),
                       records_.begin() + static_cast<std::ptrdiff_t>(half));
        base_ += half - kept;
    }

  private:
    std::vector<Record> records_;
    std::uint64_t base_{};
};

// Every second tick of each channel: the sums stay exact, the steps get longer. Ticks that tell of
// something (a reset, a gap) stay.
void thin_ticks(std::vector<Record>& ticks);
// The same for series of paced sources. A held value that follows one that goes takes over its
// beginning, so that it still says since when the series was looked at without a break.
void thin_states(std::vector<Record>& states);
// Two neighbouring snapshots become one.
void thin_cells(std::vector<Record>& cells);
// The shorter half of the calls goes. Returns the duration below which calls were dropped.
std::int64_t thin_spans(std::vector<Record>& spans);

}  // namespace picojoule
