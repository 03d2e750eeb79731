// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace virnuc::bindings {

/// The objects of a class that have threads, so that those end before the interpreter and the drivers do.
template <typename Object>
struct LiveObjects {
    std::mutex mutex;
    std::vector<std::weak_ptr<Object>> objects;

    static LiveObjects& instance() {
        static auto* const live = new LiveObjects;  // threads may outlive static destructors
        return *live;
    }
};

/// Makes an object that is stopped at the interpreter's exit at the latest. Gives the GIL up while it is
/// made, since drivers take their time, and while it is destroyed, since that waits for threads. The list of
/// them is touched with the GIL only, so that no fork can come in between.
template <typename Object, typename... Arguments>
std::shared_ptr<Object> make_live(Arguments&&... arguments) {
    const auto destroy = [](Object* object) {
        if (PyGILState_Check() == 0) {
            delete object;
            return;
        }
        const pybind11::gil_scoped_release unlocked;
        delete object;
    };
    std::shared_ptr<Object> object;
    {
        const pybind11::gil_scoped_release unlocked;
        object.reset(new Object(std::forward<Arguments>(arguments)...), destroy);
    }
    auto& live = LiveObjects<Object>::instance();
    const std::lock_guard lock(live.mutex);
    std::erase_if(live.objects, [](const auto& known) { return known.expired(); });
    live.objects.push_back(object);
    return object;
}

/// Registers `stop` for all that is alive at the interpreter's exit.
template <typename Object>
void stop_live_at_exit(void (*stop)(Object&)) {
    const auto stop_all = [stop] {
        std::vector<std::shared_ptr<Object>> alive;
        {
            auto& live = LiveObjects<Object>::instance();
            const std::lock_guard lock(live.mutex);
            for (const auto& known : live.objects) {
                if (auto object = known.lock()) alive.push_back(std::move(object));
            }
        }
        const pybind11::gil_scoped_release unlocked;
        for (const auto& object : alive) stop(*object);
        alive.clear();
    };
    pybind11::module_::import("atexit").attr("register")(pybind11::cpp_function(stop_all));
}

}  // namespace virnuc::bindings
