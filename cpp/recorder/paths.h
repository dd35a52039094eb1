// The tree of region paths: (parent, name) <-> id. Process-wide, append-only, bounded.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/trace.h"

namespace picojoule {

using PathId = std::uint32_t;
constexpr PathId kRootPath = 0;
// Names made in a loop (region(f"step {i}")) must not eat the machine: past this many distinct
// paths, further ones are booked under kOverflowName at the outermost level.
constexpr std::size_t kMostPaths = 65'536;
constexpr std::string_view kOverflowName = "(other regions)";
// Stands between the path that launched a graph and the one that captured what it ran.
constexpr std::string_view kCapturedName = "<captured>";

// Thread safety: every method may be called from any thread.
class PathTable {
  public:
    PathTable() : nodes_(1) {}

    // The id of `name` below `parent`, made on first use. A name that is already an ancestor (or
    // the parent itself) gives that ancestor: recursion does not grow the tree.
    PathId intern(PathId parent, std::string_view name);

    // launch/<captured>/captured, without what both paths begin with.
    PathId captured_below(PathId launch, PathId captured);

    // The nodes from `first` on, in order of id.
    [[nodiscard]] std::vector<PathNode> nodes_from(std::size_t first) const;
    // Appends the parents of the nodes that `parents`, by id, does not have yet.
    void parents(std::vector<PathId>& parents) const;
    [[nodiscard]] std::string name(PathId id) const;
    // Names from the outermost inwards; empty for the root and for an unknown id.
    [[nodiscard]] std::vector<std::string> names(PathId id) const;

    // How many ids there are; every id given out before the call is below it.
    [[nodiscard]] std::size_t size() const noexcept {
        return size_.load(std::memory_order_acquire);
    }

    // Held across fork() so that the child never inherits it locked.
    std::mutex& mutex() noexcept { return mutex_; }

  private:
    PathId intern_locked(PathId parent, std::string_view name);
    // Outermost first. REQUIRES: mutex_ is held.
    [[nodiscard]] std::vector<PathId> chain(PathId id) const;

    mutable std::mutex mutex_;
    std::vector<PathNode> nodes_;
    std::atomic<std::size_t> size_{1};
    std::unordered_map<std::string, PathId> ids_;  // key: parent id, ':', name
};

}  // namespace picojoule
