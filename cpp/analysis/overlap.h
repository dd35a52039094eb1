// How long each class ran inside each window: exact, in one sweep over spans and window edges.
//
// Spans may overlap (streams). The time of a span is booked by how many ran at once (its level), so
// that a rule of sharing can be applied afterwards without another sweep.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace picojoule {

struct Spans {
    std::span<const std::int64_t> begin_ns;
    std::span<const std::int64_t> end_ns;
    std::span<const std::int32_t> cls;  // 0..K-1
};

// Levels from kMostAtOnce on are one.
constexpr std::uint32_t kMostAtOnce = 8;

// Time of one class at one level. Summed over classes, each level's time counts `level`-fold.
struct Booked {
    std::uint32_t cls{};
    std::uint32_t level{};
    double ns{};
};

// Rows of entries: row r has [start[r], start[r + 1]).
struct BookedRows {
    std::vector<std::size_t> start{0};
    std::vector<Booked> entries;
    std::vector<double> idle_ns;  // of each row: nothing ran

    [[nodiscard]] std::span<const Booked> row(std::size_t r) const {
        return {entries.data() + start[r], start[r + 1] - start[r]};
    }
};

// What lies around an instant that is known only up to a normal error of `std_ns`.
struct Blur {
    std::uint32_t cls{};  // n_classes: nothing ran
    std::uint32_t level{};
    double ns{};     // expected time before the true instant, beyond that before the stated one
    double share{};  // probability that this runs at the true instant
};

struct BlurRows {
    std::vector<std::size_t> start{0};
    std::vector<Blur> entries;

    [[nodiscard]] std::span<const Blur> row(std::size_t r) const {
        return {entries.data() + start[r], start[r + 1] - start[r]};
    }
};

struct Overlap {
    BookedRows intervals;  // between neighbouring `edges`: edges.size() - 1 rows
    BlurRows blurs;        // around each edge
    bool concurrent{};     // anything ran at the same time as something else
};

// REQUIRES: edges ascending and distinct, std_ns of the same length, classes < n_classes, no span
// ends before it begins. O(m + overlaps) for spans in order of their begin; else they are sorted.
Overlap overlap(const Spans& spans, std::size_t n_classes, std::span<const double> edges_ns,
                std::span<const double> std_ns, std::int64_t origin_ns);

}  // namespace picojoule
