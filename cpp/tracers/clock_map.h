// From a library's clock (CUPTI: CLOCK_REALTIME) to ours.
//
// An anchor is one instant on both clocks: the library's, read between two reads of ours. Between
// anchors the mapping is a straight line. A clock that was set between two anchors (NTP, an
// administrator) shows as an offset that jumps: there the line is broken instead of bent, and each
// time is taken with the side that it can belong to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace picojoule {

class ClockMap {
  public:
    static constexpr std::int64_t kStepNs = 50'000;  // a larger change of the offset is a step
    static constexpr int kTries = 5;                 // of which the one with the least doubt counts
    static constexpr std::size_t kMostAnchors = 4096;  // then the older half is thinned

    // Takes an anchor. `read` gives the foreign clock in ns, or false; `ours` our own.
    template <class Read, class Ours>
    bool look(Read&& read, Ours&& ours) {
        Anchor best{};
        std::int64_t least = -1;
        for (int i = 0; i < kTries; ++i) {
            const std::int64_t before = ours();
            std::int64_t foreign = 0;
            if (!read(foreign)) return false;
            const std::int64_t width = ours() - before;
            if (width < 0 || (least >= 0 && width >= least)) continue;
            least = width;
            best = {foreign, before + width / 2, width / 2, false};
        }
        if (least < 0) return false;
        add(best.foreign, best.ours, best.doubt);
        return true;
    }

    void add(std::int64_t foreign, std::int64_t ours, std::int64_t doubt);

    // Ours for theirs. Times outside all anchors get the offset of the nearest one.
    [[nodiscard]] std::int64_t to_ours(std::int64_t foreign) noexcept {
        if (foreign < from_ || foreign >= until_) [[unlikely]]
            select(foreign);
        const std::int64_t since = foreign - base_foreign_;
        // The slope is kept as its difference from one, so that no digits are lost.
        return base_ours_ + since +
               static_cast<std::int64_t>(static_cast<double>(since) * extra_slope_);
    }

    [[nodiscard]] bool empty() const noexcept { return anchors_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return anchors_.size(); }
    [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }
    // The worst there was: half a bracket, or how far an anchor fell from where the offset before
    // it had put it. Steps do not count here.
    [[nodiscard]] std::int64_t residual_ns() const noexcept { return residual_ns_; }
    [[nodiscard]] std::int64_t last_ours() const noexcept {
        return anchors_.empty() ? 0 : anchors_.back().ours;
    }

  private:
    struct Anchor {
        std::int64_t foreign;
        std::int64_t ours;
        std::int64_t doubt;
        bool stepped;  // the clock was set between the previous anchor and this one

        [[nodiscard]] std::int64_t offset() const noexcept { return ours - foreign; }
    };

    void select(std::int64_t foreign) noexcept;
    void flat(const Anchor& anchor, std::int64_t from, std::int64_t until) noexcept;
    void thin();

    std::vector<Anchor> anchors_;  // in order of `ours`
    // The piece last used.
    std::int64_t from_ = 0;
    std::int64_t until_ = 0;
    std::int64_t base_foreign_ = 0;
    std::int64_t base_ours_ = 0;
    double extra_slope_ = 0;

    std::uint64_t steps_ = 0;
    std::int64_t residual_ns_ = 0;
};

}  // namespace picojoule
