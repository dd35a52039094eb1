#include "recorder/log.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace picojoule {

void thin_ticks(std::vector<Record>& ticks) {
    std::map<std::uint16_t, bool> drop_next;
    constexpr std::uint8_t kTelling = tick_flag::kHeld | tick_flag::kReset | tick_flag::kAfterGap;
    std::erase_if(ticks, [&](const Record& r) {
        if ((r.flags & kTelling) != 0) return false;
        bool& drop = drop_next[r.id];
        drop = !drop;
        return drop;
    });
}

void thin_states(std::vector<Record>& states) {
    struct Series {
        bool drop_next{};
        bool dropped{};             // the record before this one
        std::int64_t begin_ns{};    // its beginning, if so
        std::int64_t seen_ns = -1;  // when the one before this was seen
    };
    std::map<std::uint16_t, Series> series;
    std::erase_if(states, [&](Record& r) {
        Series& s = series[r.id];
        const bool held = (r.flags & tick_flag::kHeld) != 0;
        const bool resumes = s.seen_ns < 0 || (held && r.b > s.seen_ns);
        s.seen_ns = r.a;
        if (held && !resumes && s.dropped) r.b = s.begin_ns;
        if (resumes || (r.flags & (tick_flag::kReset | tick_flag::kAfterGap)) != 0) {
            s.dropped = false;
            return false;
        }
        s.dropped = s.drop_next = !s.drop_next;
        s.begin_ns = r.b;
        return s.dropped;
    });
}

void thin_cells(std::vector<Record>& cells) {
    std::vector<Record> out;
    out.reserve(cells.size());
    std::map<std::uint32_t, std::size_t> pair;  // path -> where its merged record stands in out
    std::int64_t snapshot = 0;
    int snapshots = 0;
    const auto close_pair = [&] {
        // All records of the pair now tell of its later snapshot.
        for (const auto& [path, at] : pair) out[at].a = snapshot;
        pair.clear();
    };
    for (const Record& r : cells) {
        if (r.a != snapshot) {
            if (++snapshots > 2) {
                close_pair();
                snapshots = 1;
            }
            snapshot = r.a;
        }
        const auto [found, fresh] = pair.try_emplace(r.d, out.size());
        if (fresh) {
            out.push_back(r);
            continue;
        }
        Record& sum = out[found->second];
        if (sum.flags != cell_cpu::kUnknown && r.flags != cell_cpu::kUnknown) {
            const double cpu_ns = cell_cpu::ns(sum.flags, sum.b) + cell_cpu::ns(r.flags, r.b);
            sum.flags = cell_cpu::encode(std::llround(cpu_ns), sum.b + r.b);
        } else if (sum.b == 0 || r.b == 0) {
            sum.flags = std::max(sum.flags, r.flags);  // one of them had no time
        } else {
            sum.flags = cell_cpu::kUnknown;
        }
        sum.b += r.b;
        sum.c += r.c;  // both halves: each stays far below 2^32
        sum.id = std::max(sum.id, r.id);
    }
    close_pair();
    cells = std::move(out);
}

std::int64_t thin_spans(std::vector<Record>& spans) {
    if (spans.empty()) return 0;
    std::vector<std::int64_t> durations(spans.size());
    std::transform(spans.begin(), spans.end(), durations.begin(),
                   [](const Record& r) { return r.b - r.a; });
    const auto middle = durations.begin() + static_cast<std::ptrdiff_t>(durations.size() / 2);
    std::nth_element(durations.begin(), middle, durations.end());
    const std::int64_t least = *middle + 1;
    std::erase_if(spans, [&](const Record& r) { return r.b - r.a < least; });
    return least;
}

}  // namespace picojoule
