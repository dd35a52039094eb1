// Plays a stored trace as if it were live: the same values, at the same distances in time.
#include <algorithm>
#include <map>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "model/trace.h"
#include "sources/source.h"

namespace picojoule {
namespace {

std::mutex g_mutex;
std::map<std::string, std::shared_ptr<const Trace>>& shelf() {
    static auto* traces = new std::map<std::string, std::shared_ptr<const Trace>>;
    return *traces;
}

class Replay final : public Source {
  public:
    explicit Replay(std::shared_ptr<const Trace> trace)
        : trace_(std::move(trace)),
          channels_(trace_->channels),
          next_(channels_.size()),
          values_(channels_.size()) {
        for (Channel& c : channels_) {
            c.note = "replayed from a stored trace (" + c.meter + ")" +
                     (c.note.empty() ? "" : "; ") + c.note;
            c.meter = "replay";
            c.wrap_at = 0;  // stored values are unwrapped already
        }
        by_channel_.resize(channels_.size());
        for (const Record& r : trace_->ticks) {
            if (r.id < by_channel_.size()) by_channel_[r.id].push_back(&r);
        }
    }

    [[nodiscard]] std::span<const Channel> channels() const noexcept override { return channels_; }

    ReadStatus read(std::span<RawValue> values) noexcept override {
        const std::int64_t now = now_ns();
        if (start_ns_ == 0) start_ns_ = now;
        const std::int64_t then = trace_->begin_ns + (now - start_ns_);
        bool more = false;
        for (std::size_t i = 0; i < by_channel_.size(); ++i) {
            const auto& ticks = by_channel_[i];
            // The middle of the bracket is the best guess of when the value appeared.
            while (next_[i] < ticks.size() &&
                   (next_[i] == 0 || ticks[next_[i]]->a / 2 + ticks[next_[i]]->b / 2 <= then)) {
                values_[i] = {ticks[next_[i]]->c, true};
                ++next_[i];
            }
            values[i] = values_[i];
            more |= next_[i] < ticks.size();
        }
        return more ? ReadStatus::ok : ReadStatus::gone;
    }

    [[nodiscard]] std::string failure() const override { return "the replayed trace has ended"; }

  private:
    std::shared_ptr<const Trace> trace_;
    std::vector<Channel> channels_;
    std::vector<std::vector<const Record*>> by_channel_;
    std::vector<std::size_t> next_;
    std::vector<RawValue> values_;
    std::int64_t start_ns_{};
};

}  // namespace

std::string offer_replay(Trace trace) {
    const std::lock_guard lock(g_mutex);
    std::string key = std::to_string(shelf().size() + 1);
    shelf().emplace(key, std::make_shared<const Trace>(std::move(trace)));
    return key;
}

namespace replay {

Discovery discover(const Environment& environment) {
    Discovery found;
    const std::lock_guard lock(g_mutex);
    const auto trace = shelf().find(environment.argument);
    if (trace == shelf().end()) {
        found.findings.push_back(
            {Finding::State::absent,
             environment.argument.empty() ? "" : "replay:" + environment.argument,
             "no trace was given; use sources=[\"replay:run.pj\"]", ""});
        return found;
    }
    found.sources.push_back(std::make_unique<Replay>(trace->second));
    found.findings.push_back(
        {Finding::State::works, "replay:" + environment.argument, "plays a stored trace", ""});
    return found;
}

}  // namespace replay
}  // namespace picojoule
