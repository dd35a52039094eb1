// Buffers lent to a library that fills them with records: a fixed number of zeroed blocks.
//
// Any thread may take one, and any may say that one is full; both are called by the library, at
// times when it holds locks of its own, so they neither lock nor allocate. The tracer's thread
// collects what is full, in the order in which it came, and gives it back.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace picojoule {

class BlockPool {
  public:
    static constexpr std::size_t kBlockBytes = std::size_t{4} << 20U;
    static constexpr unsigned kBlocks = 63;

    struct Full {
        std::uint8_t* bytes;
        std::size_t valid;
        std::uint32_t epoch;  // what take() was told
        std::uint32_t index;
    };

    // Address space only; a block costs memory from its first use on.
    BlockPool() noexcept;
    // Never destroyed: the library may come back late.
    ~BlockPool() = delete;

    // A zeroed block, 8-byte aligned; null when `most` are out.
    std::uint8_t* take(std::uint32_t epoch, unsigned most) noexcept;
    // False: not one of ours.
    bool full(const std::uint8_t* bytes, std::size_t valid) noexcept;

    // Blocks that are full, oldest first; as many as fit.
    std::size_t collect(std::span<Full> into) noexcept;
    void give_back(const Full& block) noexcept;

    // How many are full and not collected.
    [[nodiscard]] unsigned waiting() const noexcept {
        return static_cast<unsigned>(std::popcount(full_.load(std::memory_order_relaxed)));
    }
    // How many the library has now.
    [[nodiscard]] unsigned lent() const noexcept;

  private:
    struct Block {
        std::size_t valid{};
        std::uint32_t epoch{};
        std::uint64_t order{};
    };

    static constexpr std::uint64_t kAll = (std::uint64_t{1} << kBlocks) - 1;

    std::uint8_t* memory_{};
    Block blocks_[kBlocks];
    std::atomic<std::uint64_t> free_{kAll};
    std::atomic<std::uint64_t> full_{0};
    std::atomic<std::uint64_t> order_{0};
    std::atomic<unsigned> held_{0};  // collected and not yet given back
};

}  // namespace picojoule
