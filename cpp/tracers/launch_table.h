// Launches that wait for their records: correlation id -> path.
//
// Ids come in order, so the table is an array in which an id's place is its lower bits. A launch is
// found again for as long as a million later ones have not passed over its place, and also after
// that if no record of it came yet: then it moves to a side table, which is bounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <unordered_map>
#include <vector>

namespace picojoule {

class LaunchTable {
  public:
    static constexpr std::uint32_t kSlots = 1U << 20U;
    static constexpr std::size_t kMostAside = 1U << 17U;

    LaunchTable() : slots_(static_cast<Slot*>(std::calloc(kSlots, sizeof(Slot)))) {
        if (!slots_) throw std::bad_alloc();
    }

    void add(std::uint32_t id, std::uint32_t path) {
        const std::uint32_t place = id & (kSlots - 1);
        Slot& slot = slots_[place];
        std::uint64_t& word = found_[place / 64];
        const std::uint64_t bit = std::uint64_t{1} << (place % 64);
        if (slot.id == id) {  // the same call, seen at the runtime's level and at the driver's
            slot.path = path;
            return;
        }
        if (slot.id != 0 && (word & bit) == 0) set_aside(slot);
        ++open_;
        slot = {id, path};
        word &= ~bit;
    }

    // A launch may have many records (one for each node of a graph): it stays.
    [[nodiscard]] std::optional<std::uint32_t> find(std::uint32_t id) {
        const std::uint32_t place = id & (kSlots - 1);
        const Slot& slot = slots_[place];
        if (slot.id == id) [[likely]] {
            std::uint64_t& word = found_[place / 64];
            const std::uint64_t bit = std::uint64_t{1} << (place % 64);
            open_ -= (word & bit) == 0 ? 1U : 0U;
            word |= bit;
            return slot.path;
        }
        const auto it = aside_.find(id);
        if (it == aside_.end()) return std::nullopt;
        open_ -= it->second.found ? 0U : 1U;
        it->second.found = true;
        return it->second.path;
    }

    // Launches without a record yet. Some never have one: captured, or failed.
    [[nodiscard]] std::size_t open() const noexcept { return open_; }
    [[nodiscard]] std::size_t aside() const noexcept { return aside_.size(); }

  private:
    struct Slot {
        std::uint32_t id;
        std::uint32_t path;
    };

    struct Aside {
        std::uint32_t path;
        bool found;
    };

    void set_aside(const Slot& slot) {
        if (aside_.size() >= kMostAside) {
            const auto oldest = aside_.find(order_.front());
            open_ -= oldest->second.found ? 0U : 1U;
            aside_.erase(oldest);
            order_.pop_front();
        }
        if (aside_.try_emplace(slot.id, Aside{slot.path, false}).second) order_.push_back(slot.id);
    }

    struct Free {
        void operator()(Slot* slots) const noexcept { std::free(slots); }
    };

    std::unique_ptr<Slot[], Free> slots_;  // by calloc: what is never used costs no memory
    std::vector<std::uint64_t> found_ =
        std::vector<std::uint64_t>(kSlots / 64);  // one bit a slot: a record of it was seen
    std::unordered_map<std::uint32_t, Aside> aside_;
    std::deque<std::uint32_t> order_;
    std::size_t open_{};
};

}  // namespace picojoule
