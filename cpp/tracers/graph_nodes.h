// Nodes of graphs: which path was open when a node was captured.
//
// What runs is a clone: instantiating a graph clones each node, so a clone is traced back to the
// node that was made while somebody's region was open.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

namespace picojoule {

class GraphNodes {
  public:
    static constexpr std::size_t kMost = 1U << 20U;

    struct Found {
        std::uint32_t number{};  // the same for the same node; 0: too many
        std::uint32_t path{};
        bool captured{};  // the path is known
    };

    void created(std::uint64_t node, std::uint32_t path) {
        if (Node* n = at(node)) {
            n->path = path;
            n->captured = true;
        }
    }
    void cloned(std::uint64_t node, std::uint64_t original) {
        if (Node* n = at(node)) n->original = original;
    }

    // A clone may be heard of before its original, from another thread: looked up when it runs.
    [[nodiscard]] Found find(std::uint64_t node) {
        Node* n = at(node);
        if (n == nullptr) return {};
        std::uint64_t up = n->original;
        for (int depth = 0; !n->captured && up != 0 && depth < kDeepest; ++depth) {
            const auto it = nodes_.find(up);
            if (it == nodes_.end()) break;
            if (it->second.captured) {
                n->path = it->second.path;
                n->captured = true;
            }
            up = it->second.original;
        }
        return {n->number, n->path, n->captured};
    }

    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

  private:
    static constexpr int kDeepest = 16;  // clones of clones: child graphs

    struct Node {
        std::uint64_t original{};
        std::uint32_t path{};
        std::uint32_t number{};
        bool captured{};
    };

    Node* at(std::uint64_t node) {
        const auto it = nodes_.find(node);
        if (it != nodes_.end()) return &it->second;
        if (nodes_.size() >= kMost) {
            ++lost_;
            return nullptr;
        }
        Node& n = nodes_[node];
        n.number = static_cast<std::uint32_t>(nodes_.size());
        return &n;
    }

    std::unordered_map<std::uint64_t, Node> nodes_;
    std::uint64_t lost_{};
};

}  // namespace picojoule
