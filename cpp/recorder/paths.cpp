#include "recorder/paths.h"

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

std::vector<PathNode> PathTable::nodes_from(std::size_t first) const {
    const std::lock_guard lock(mutex_);
    if (first >= nodes_.size()) return {};
    return {nodes_.begin() + static_cast<std::ptrdiff_t>(first), nodes_.end()};
}

std::string PathTable::name(PathId id) const {
    const std::lock_guard lock(mutex_);
    return id < nodes_.size() ? nodes_[id].name : std::string();
}

}  // namespace picojoule
