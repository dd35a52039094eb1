#include "recorder/paths.h"

#include <algorithm>

namespace picojoule {

PathId PathTable::intern(PathId parent, std::string_view name) {
    const std::lock_guard lock(mutex_);
    for (PathId p = parent; p != kRootPath; p = nodes_[p].parent) {
        if (nodes_[p].name == name) return p;
    }
    return intern_locked(parent, name);
}

PathId PathTable::intern_locked(PathId parent, std::string_view name) {
    std::string key = std::to_string(parent);
    key.append(":").append(name);
    if (const auto found = ids_.find(key); found != ids_.end()) return found->second;
    if (nodes_.size() >= kMostPaths && !(parent == kRootPath && name == kOverflowName)) {
        return intern_locked(kRootPath, kOverflowName);
    }
    const auto id = static_cast<PathId>(nodes_.size());
    nodes_.push_back({parent, std::string(name)});
    size_.store(nodes_.size(), std::memory_order_release);
    ids_.emplace(std::move(key), id);
    return id;
}

PathId PathTable::captured_below(PathId launch, PathId captured) {
    const std::lock_guard lock(mutex_);
    const std::vector<PathId> to = chain(launch);
    const std::vector<PathId> from = chain(captured);
    const auto differ = std::ranges::mismatch(to, from).in2;
    PathId path = intern_locked(launch, kCapturedName);
    for (auto at = differ; at != from.end(); ++at) {
        const std::string name(nodes_[*at].name);  // nodes_ may move
        path = intern_locked(path, name);
    }
    return path;
}

std::vector<PathNode> PathTable::nodes_from(std::size_t first) const {
    const std::lock_guard lock(mutex_);
    if (first >= nodes_.size()) return {};
    return {nodes_.begin() + static_cast<std::ptrdiff_t>(first), nodes_.end()};
}

void PathTable::parents(std::vector<PathId>& parents) const {
    if (parents.size() == size()) return;
    const std::lock_guard lock(mutex_);
    while (parents.size() < nodes_.size()) parents.push_back(nodes_[parents.size()].parent);
}

std::string PathTable::name(PathId id) const {
    const std::lock_guard lock(mutex_);
    return id < nodes_.size() ? nodes_[id].name : std::string();
}

std::vector<std::string> PathTable::names(PathId id) const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (const PathId p : chain(id)) out.push_back(nodes_[p].name);
    return out;
}

std::vector<PathId> PathTable::chain(PathId id) const {
    std::vector<PathId> out;
    if (id >= nodes_.size()) return out;
    for (PathId p = id; p != kRootPath; p = nodes_[p].parent) out.push_back(p);
    std::reverse(out.begin(), out.end());
    return out;
}

}  // namespace picojoule
