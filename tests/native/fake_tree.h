// A directory of small files that stands for /sys and /proc, gone when the test ends.
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include "sources/source.h"

namespace picojoule::testing {

class FakeTree {
  public:
    FakeTree() {
        std::string name = (std::filesystem::temp_directory_path() / "picojoule-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
        root_ = name;
        std::filesystem::permissions(root_, std::filesystem::perms{0755});
    }
    FakeTree(const FakeTree&) = delete;
    FakeTree& operator=(const FakeTree&) = delete;
    ~FakeTree() {
        std::error_code error;
        std::filesystem::remove_all(root_, error);
    }

    // Creates or rewrites; a file that is open elsewhere stays the same file.
    void write(const std::string& path, const std::string& text) const {
        std::filesystem::create_directories((root_ / path).parent_path());
        std::ofstream(root_ / path) << text;
    }
    void link(const std::string& path, const std::string& to) const {
        std::filesystem::create_directories((root_ / path).parent_path());
        std::filesystem::create_symlink(to, root_ / path);
    }
    void mode(const std::string& path, unsigned bits) const {
        std::filesystem::permissions(root_ / path, std::filesystem::perms{bits});
    }
    void remove(const std::string& path) const { std::filesystem::remove_all(root_ / path); }

    [[nodiscard]] std::string path(const std::string& name) const {
        return (root_ / name).string();
    }
    [[nodiscard]] Environment environment() const {
        Environment e;
        e.sysfs_root = path("sys");
        e.procfs_root = path("proc");
        return e;
    }

  private:
    std::filesystem::path root_;
};

inline const Channel* find_channel(const Source& source, const std::string& domain) {
    const auto channels = source.channels();
    const auto at = std::find_if(channels.begin(), channels.end(),
                                 [&](const Channel& c) { return c.domain == domain; });
    return at == channels.end() ? nullptr : &*at;
}

inline std::size_t count(const Discovery& found, Finding::State state) {
    return static_cast<std::size_t>(
        std::count_if(found.findings.begin(), found.findings.end(),
                      [state](const Finding& f) { return f.state == state; }));
}

inline const SourceFactory& factory(std::string_view name) {
    for (const SourceFactory& f : source_registry()) {
        if (f.name == name) return f;
    }
    throw std::runtime_error("not in the registry");
}

}  // namespace picojoule::testing
