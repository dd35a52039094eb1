#include "tracers/clock_map.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace picojoule {
namespace {

constexpr std::int64_t kEver = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::min();

}  // namespace

void ClockMap::add(std::int64_t foreign, std::int64_t ours, std::int64_t doubt) {
    Anchor anchor{foreign, ours, doubt, false};
    if (!anchors_.empty()) {
        const Anchor& last = anchors_.back();
        if (ours <= last.ours) return;
        const std::int64_t moved = std::abs(anchor.offset() - last.offset());
        anchor.stepped = moved > kStepNs + doubt + last.doubt;
        if (anchor.stepped) {
            ++steps_;
        } else {
            residual_ns_ = std::max(residual_ns_, moved);
        }
    }
    residual_ns_ = std::max(residual_ns_, doubt);
    anchors_.push_back(anchor);
    until_ = from_;  // the open end has moved
    if (anchors_.size() > kMostAnchors) thin();
}

void ClockMap::flat(const Anchor& anchor, std::int64_t from, std::int64_t until) noexcept {
    from_ = from;
    until_ = until;
    base_foreign_ = anchor.foreign;
    base_ours_ = anchor.ours;
    extra_slope_ = 0;
}

// The stretch of anchors after which `foreign` may lie, looked for from the newest: records are of
// what happened lately.
void ClockMap::select(std::int64_t foreign) noexcept {
    if (anchors_.empty()) {
        from_ = kNever;
        until_ = kEver;
        base_foreign_ = base_ours_ = 0;
        extra_slope_ = 0;
        return;
    }
    const Anchor& newest = anchors_.back();
    if (foreign >= newest.foreign) {
        // After a clock was set back, times of before look like times to come. An anchor is taken
        // before records are read, so what has a place in the past belongs there.
        for (std::size_t i = anchors_.size() - 1; steps_ > 0 && i > 0; --i) {
            const std::int64_t as_before = foreign + anchors_[i - 1].offset();
            if (anchors_[i].stepped && as_before >= anchors_[i - 1].ours &&
                as_before <= anchors_[i].ours) {
                flat(anchors_[i - 1], foreign, foreign + 1);
                return;
            }
        }
        if (steps_ > 0) {
            flat(newest, foreign, foreign + 1);
        } else {
            flat(newest, newest.foreign, kEver);
        }
        return;
    }
    for (std::size_t i = anchors_.size() - 1; i > 0; --i) {
        const Anchor& before = anchors_[i - 1];
        const Anchor& after = anchors_[i];
        if (!after.stepped) {
            if (foreign < before.foreign || foreign >= after.foreign) continue;
            from_ = before.foreign;
            until_ = after.foreign;
            base_foreign_ = before.foreign;
            base_ours_ = before.ours;
            extra_slope_ = static_cast<double>(after.ours - before.ours) /
                               static_cast<double>(after.foreign - before.foreign) -
                           1;
            return;
        }
        // The clock was set in here. What can be only before or only after is clear; for the rest
        // (a clock set back shows some times twice) the nearer anchor decides.
        const std::int64_t as_before = foreign + before.offset();
        const std::int64_t as_after = foreign + after.offset();
        const bool may_be_before = as_before >= before.ours && as_before <= after.ours;
        const bool may_be_after = as_after >= before.ours && as_after <= after.ours;
        if (!may_be_before && !may_be_after) continue;
        const bool is_before =
            may_be_before && (!may_be_after || as_before - before.ours <= after.ours - as_after);
        flat(is_before ? before : after, foreign, foreign + 1);
        return;
    }
    flat(anchors_.front(), kNever, anchors_.front().foreign);
    if (foreign >= until_) {
        // Between the pieces (the clock jumped over it): no instant of ours was ever called so.
        flat(anchors_.front(), foreign, foreign + 1);
    }
}

// Every second anchor of the older half goes, but for those at a step.
void ClockMap::thin() {
    const std::size_t half = anchors_.size() / 2;
    std::vector<Anchor> kept;
    kept.reserve(anchors_.size());
    for (std::size_t i = 0; i < anchors_.size(); ++i) {
        const bool at_step =
            anchors_[i].stepped || (i + 1 < anchors_.size() && anchors_[i + 1].stepped);
        if (i == 0 || i >= half || i % 2 == 0 || at_step) kept.push_back(anchors_[i]);
    }
    anchors_ = std::move(kept);
    until_ = from_;
}

}  // namespace picojoule
