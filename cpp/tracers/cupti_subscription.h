// One subscription to CUPTI, in whichever family of calls the library has for it.
#pragma once

#include <cstdint>
#include <string>

#include "tracers/cupti_api.h"
#include "tracers/cupti_library.h"
#include "tracers/tracer.h"

namespace picojoule::cupti {

// What the library calls. They run on threads of the user and of the library.
struct Callbacks {
    Callback on_call;
    void* user;
    RequestBuffer request;
    BufferDone done;
    RequestBufferV2 request_v2;
    BufferDoneV2 done_v2;
};

class Subscription {
  public:
    explicit Subscription(const Library& library) noexcept : api_(&library.api) {}

    // Takes the subscriber's place, and nothing else yet. The status says whether, and if not, why.
    TracerStatus subscribe(const Library& library, const Callbacks& callbacks,
                           unsigned driver_branch);
    // Starts callbacks and records; on failure everything is undone and the status says why.
    bool enable(const Callbacks& callbacks, TracerStatus& status);
    void disable() noexcept;
    void unsubscribe() noexcept;

    // For the tracer's thread.
    int next(std::uint8_t* bytes, std::size_t valid, void*& record) const noexcept {
        return second_ ? api_->next_record_v2(handle_, bytes, valid, &record)
                       : api_->next_record(bytes, valid, &record);
    }
    std::uint64_t dropped() const noexcept;
    bool time(std::int64_t& ns) const noexcept;
    void flush(bool forced) const noexcept { api_->flush_all(forced ? 1 : 0); }

  private:
    void enable_calls(int domain, const CallRange& range, bool on) noexcept;
    void all_calls(bool on) noexcept;
    int enable_kind(std::uint32_t kind) noexcept;
    void disable_kind(std::uint32_t kind) noexcept;
    [[nodiscard]] std::string words(int result) const;

    const Api* api_;
    Subscriber handle_{};
    bool second_{};  // the calls that take a subscriber
};

// Which mode subscribing would choose with the library found there, without subscribing.
TracerStatus outlook(const Places& places, unsigned driver_branch);

}  // namespace picojoule::cupti
