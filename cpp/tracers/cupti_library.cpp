#include "tracers/cupti_library.h"

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <fstream>
#include <string_view>

namespace picojoule::cupti {
namespace {

bool exists(const std::string& path) {
    return ::access(path.c_str(), R_OK) == 0;
}

std::string_view base_name(std::string_view path) {
    const auto slash = path.rfind('/');
    return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

struct Search {
    std::string stem;
    std::vector<std::string> found;
};

int look_at(dl_phdr_info* info, std::size_t, void* data) {
    auto& search = *static_cast<Search*>(data);
    const std::string_view path = info->dlpi_name == nullptr ? "" : info->dlpi_name;
    if (base_name(path).starts_with(search.stem)) search.found.emplace_back(path);
    return 0;
}

// The CUDA release this process runs: a libcupti of another one would not fit.
unsigned cuda_major_of_process() {
    for (const std::string& path : loaded_libraries("libcudart.so.")) {
        const std::string_view name = base_name(path);
        const auto major = std::strtoul(std::string(name.substr(13)).c_str(), nullptr, 10);
        if (major >= 11 && major < 100) return static_cast<unsigned>(major);
    }
    return 0;
}

Library bound(void* handle, const std::string& path) {
    Library library;
    library.api.bind([handle](const char* symbol) { return ::dlsym(handle, symbol); });
    if (!library.api.complete()) {
        library.words = path + " lacks functions that CUPTI has had since CUDA 11.8";
        library.remedy = "pip install nvidia-cuda-cupti";
        return library;
    }
    if (const int result = library.api.get_version(&library.version); result != kSuccess) {
        // From 13.3 on, it does not even tell that where there is no driver.
        library.words = path + " does not work here (CUPTI error " + std::to_string(result) +
                        "): there may be no NVIDIA driver";
        library.remedy = kAskDriver;
        return library;
    }
    if (library.version < kVersion11_8) {
        library.words = path + " is older than CUPTI 11.8";
        library.remedy = "pip install nvidia-cuda-cupti";
        return library;
    }
    library.path = path;
    return library;
}

}  // namespace

Places Places::from_process(std::vector<std::string> folders) {
    const auto variable = [](const char* name) {
        const char* value = std::getenv(name);
        return std::string(value == nullptr ? "" : value);
    };
    Places places;
    places.file = variable("PICOJOULE_CUPTI");
    places.folders = std::move(folders);
    places.cuda_home = variable("CUDA_HOME");
    if (places.cuda_home.empty()) places.cuda_home = variable("CUDA_PATH");
    return places;
}

std::vector<std::string> loaded_libraries(const char* stem) {
    Search search{stem, {}};
    ::dl_iterate_phdr(look_at, &search);
    return search.found;
}

std::vector<std::string> candidates(const Places& places, unsigned cuda_major) {
    if (!places.file.empty()) return {places.file};
    // Without a CUDA runtime to tell, the newer one: it knows more devices.
    const std::vector<unsigned> majors = cuda_major == 12   ? std::vector<unsigned>{12}
                                         : cuda_major == 13 ? std::vector<unsigned>{13}
                                                            : std::vector<unsigned>{13, 12};
    std::vector<std::string> all;
    const auto add_if_there = [&all](const std::string& path) {
        if (exists(path)) all.push_back(path);
    };
    for (const unsigned major : majors) {
        const std::string name = "libcupti.so." + std::to_string(major);
        const std::string wheels[] = {"/nvidia/cu" + std::to_string(major) + "/lib/",
                                      "/nvidia/cuda_cupti/lib/"};
        for (const std::string& folder : places.folders) {
            if (folder.empty()) continue;
            for (const std::string& wheel : wheels) {
                add_if_there(std::string(folder).append(wheel).append(name));
            }
        }
    }
    for (const unsigned major : majors) {
        const std::string name = "libcupti.so." + std::to_string(major);
        if (places.cuda_home.empty()) continue;
        for (const char* folder : {"/lib64/", "/lib/", "/extras/CUPTI/lib64/"}) {
            add_if_there(std::string(places.cuda_home).append(folder).append(name));
        }
    }
    for (const unsigned major : majors) all.push_back("libcupti.so." + std::to_string(major));
    return all;
}

Library open_library(const Places& places) {
    // By any path: a copy that some framework brought along is the one that sees its kernels.
    for (const std::string& path : loaded_libraries("libcupti.so")) {
        void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
        if (handle == nullptr) continue;
        Library library = bound(handle, path);
        library.was_loaded = true;
        return library;  // good or not: a second one would be worse
    }
    std::string error;
    for (const std::string& path : candidates(places, cuda_major_of_process())) {
        void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (handle != nullptr) return bound(handle, path);
        const char* words = ::dlerror();
        if (error.empty() && words != nullptr) error = words;
    }
    Library none;
    none.words = "libcupti was not found, so no kernels are recorded";
    if (!places.file.empty()) none.words += " (" + error + ")";
    none.remedy = "pip install nvidia-cuda-cupti, or set CUDA_HOME";
    return none;
}

std::string version_words(std::uint32_t version) {
    if (version >= kVersion13_0) {
        return std::to_string(version / 10'000) + "." + std::to_string(version / 100 % 100);
    }
    // Before 13.0 the number counts releases of the interface.
    switch (version) {
        case 18:
            return "11.8";
        case 22:
            return "12.4";
        case 24:
            return "12.6";
        case 26:
            return "12.8";
        case 27:
        case 28:
            return "12.9";
        default:
            return (version > 18 ? "12.x (API " : "API (") + std::to_string(version) + ")";
    }
}

std::string known_trouble(std::uint32_t version) {
    struct Trouble {
        std::uint32_t first, fixed;  // in [first, fixed)
        const char* words;
    };
    constexpr Trouble kTroubles[] = {
        {21, 130'000,
         "programs with conditional nodes in CUDA graphs may crash in it (kernels=False spares "
         "them)"},
        {130'000, 130'001, "it may hang when tracing ends; 13.0 Update 1 mends that"},
        {0, 130'101,
         "once tracing has ended and begun anew in a process, kernels of CUDA graphs may name the "
         "wrong launch; 13.1 Update 1 mends that"},
        {130'200, 130'300, "calls made again and again grow slow while it traces; 13.3 mends that"},
        {130'400, 130'401, "its memory grows in long traces; 13.4 Update 1 mends that"},
    };
    std::string found;
    for (const Trouble& t : kTroubles) {
        if (version < t.first || version >= t.fixed) continue;
        found += (found.empty() ? "" : "; ") + std::string(t.words);
    }
    return found;
}

unsigned nvidia_driver_branch(const std::string& procfs_root) {
    std::ifstream file(procfs_root + "/driver/nvidia/version");
    std::string word;
    // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul ..."; the open module
    // says "... Open Kernel Module for x86_64  580.65.06  Release Build ...".
    while (file >> word) {
        const auto dot = word.find('.');
        if (dot == std::string::npos || dot < 3) continue;
        bool digits = true;
        for (const char c : word) {
            digits = digits && (c == '.' || std::isdigit(static_cast<unsigned char>(c)) != 0);
        }
        if (digits) return static_cast<unsigned>(std::strtoul(word.c_str(), nullptr, 10));
    }
    return 0;
}

}  // namespace picojoule::cupti
