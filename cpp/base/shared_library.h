// A library opened at run time. picojoule links no vendor library: what is not there is "absent".
#pragma once

#include <dlfcn.h>

#include <string>
#include <utility>

namespace picojoule {

// Opens by the loader's own search path, a copy already in the process first. Never dlclosed:
// vendor libraries keep threads and handlers of their own, and unloading them under those is a
// crash.
class SharedLibrary {
  public:
    explicit SharedLibrary(const char* name) noexcept {
        handle_ = ::dlopen(name, RTLD_NOW | RTLD_NOLOAD);
        if (handle_ == nullptr) handle_ = ::dlopen(name, RTLD_NOW);
        if (handle_ == nullptr) {
            const char* words = ::dlerror();
            error_ = words == nullptr ? "could not be opened" : words;
        }
    }

    [[nodiscard]] explicit operator bool() const noexcept { return handle_ != nullptr; }
    [[nodiscard]] const std::string& error() const noexcept { return error_; }

    // The function of that name, or null where this version of the library has none.
    template <class Function>
    [[nodiscard]] Function* symbol(const char* name) const noexcept {
        return handle_ == nullptr ? nullptr : reinterpret_cast<Function*>(::dlsym(handle_, name));
    }

  private:
    void* handle_{};
    std::string error_;
};

}  // namespace picojoule
