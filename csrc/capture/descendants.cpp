// SPDX-License-Identifier: MIT
#include "capture/descendants.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <unordered_set>

namespace virnuc {

namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Appends the children of each thread of a process, which may end meanwhile.
void append_children(const fs::path& process, std::vector<std::string>& found) {
    std::error_code error;
    fs::directory_iterator threads(process / "task", error);
    for (; !error && threads != fs::directory_iterator(); threads.increment(error)) {
        std::ifstream children(threads->path() / "children");
        std::copy(std::istream_iterator<std::string>(children), {}, std::back_inserter(found));
    }
}

/// The state is the first field after the name, which may contain spaces and parentheses.
bool is_stopped(const fs::path& process) {
    const std::string text = read_file(process / "stat");
    const std::size_t end = text.rfind(')');
    if (end == std::string::npos || end + 2 >= text.size()) return false;
    const char state = text[end + 2];
    return state == 'T' || state == 't';
}

}  // namespace

std::vector<std::int64_t> stopped_descendants(const std::string& proc) {
    const fs::path root(proc);
    std::vector<std::string> pending;
    std::unordered_set<std::string> visited;
    std::vector<std::int64_t> stopped;
    append_children(root / "self", pending);
    while (!pending.empty()) {
        const std::string pid = std::move(pending.back());
        pending.pop_back();
        if (!visited.insert(pid).second) continue;
        if (is_stopped(root / pid)) stopped.push_back(std::stoll(pid));
        append_children(root / pid, pending);
    }
    return stopped;
}

}  // namespace virnuc
