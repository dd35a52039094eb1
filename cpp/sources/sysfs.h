// Small files of /sys and /proc: whole texts while looking for devices, single numbers from then
// on.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "sources/source.h"

namespace picojoule::sysfs {

inline std::string trimmed(std::string text) {
    text.erase(text.find_last_not_of(" \t\r\n") + 1);
    return text;
}

// The first line of a file; nothing where it cannot be read.
inline std::optional<std::string> line(const std::string& path) {
    std::ifstream file(path);
    std::string text;
    if (!std::getline(file, text)) return std::nullopt;
    return trimmed(std::move(text));
}

inline std::optional<std::uint64_t> number(const std::string& path) {
    const auto text = line(path);
    std::uint64_t value{};
    if (!text) return std::nullopt;
    if (std::from_chars(text->data(), text->data() + text->size(), value).ec != std::errc()) {
        return std::nullopt;
    }
    return value;
}

// One byte of a binary file.
inline std::optional<unsigned char> byte(const std::string& path, std::streamoff at) {
    std::ifstream file(path, std::ios::binary);
    file.seekg(at);
    const auto value = file.get();
    if (!file) return std::nullopt;
    return static_cast<unsigned char>(value);
}

// Names in a directory, those with numbers in the order of the numbers.
inline std::vector<std::string> names(const std::string& directory) {
    std::vector<std::string> found;
    std::error_code error;
    for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end;
         at.increment(error)) {
        found.push_back(at->path().filename().string());
    }
    std::sort(found.begin(), found.end(), [](const std::string& a, const std::string& b) {
        return a.size() != b.size() ? a.size() < b.size() : a < b;
    });
    return found;
}

inline bool exists(const std::string& path) {
    std::error_code error;
    return std::filesystem::exists(path, error);
}

// "model name" of the first CPU; ARM kernels have none.
inline std::string cpu_model(const Environment& environment) {
    std::ifstream file(environment.procfs_root + "/cpuinfo");
    for (std::string text; std::getline(file, text);) {
        const auto colon = text.find(':');
        if (!text.starts_with("model name") || colon == std::string::npos) continue;
        return trimmed(text.substr(std::min(colon + 2, text.size())));
    }
    return "CPU";
}

inline ReadStatus status_of(int error) noexcept {
    switch (error) {
        case 0:
            return ReadStatus::ok;
        case EACCES:
        case EPERM:
            return ReadStatus::denied;
        case ENODEV:
        case ENOENT:
            return ReadStatus::gone;
        default:
            return ReadStatus::retry;
    }
}

// A file of one unsigned number, kept open. read() allocates nothing.
class NumberFile {
  public:
    explicit NumberFile(std::string path)
        : path_(std::move(path)),
          fd_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)),
          error_(fd_ ? 0 : errno) {}

    bool read(std::uint64_t& value) noexcept {
        if (!fd_) return false;
        char text[32];
        const ssize_t got = ::pread(fd_.get(), text, sizeof text, 0);
        error_ = got < 0 ? errno : EINVAL;
        if (got <= 0) return false;
        if (std::from_chars(text, text + got, value).ec != std::errc()) return false;
        error_ = 0;
        return true;
    }

    [[nodiscard]] int error() const noexcept { return error_; }  // of the last open or read
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

  private:
    std::string path_;
    UniqueFd fd_;
    int error_;
};

// A meter that is a set of number files, one a channel. A file that fails leaves its own value out;
// the read as a whole fails only where no file gave a value.
class FileSource final : public Source {
  public:
    void add(Channel channel, NumberFile file) {
        channels_.push_back(std::move(channel));
        files_.push_back(std::move(file));
    }
    [[nodiscard]] bool empty() const noexcept { return files_.empty(); }

    [[nodiscard]] std::span<const Channel> channels() const noexcept override { return channels_; }

    ReadStatus read(std::span<RawValue> values) noexcept override {
        bool any = false;
        for (std::size_t i = 0; i < files_.size(); ++i) {
            values[i].valid = files_[i].read(values[i].raw);
            any |= values[i].valid;
            if (!values[i].valid) failed_ = i;
        }
        return any ? ReadStatus::ok : status_of(files_[failed_].error());
    }

    [[nodiscard]] std::string failure() const override {
        return files_[failed_].path() + ": " +
               std::generic_category().message(files_[failed_].error());
    }

  private:
    std::vector<Channel> channels_;
    std::vector<NumberFile> files_;
    std::size_t failed_{};
};

}  // namespace picojoule::sysfs
