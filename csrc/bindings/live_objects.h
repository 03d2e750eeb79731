// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace virnuc::bindings {

/// The live objects of a class with threads, which must end before the interpreter and the drivers do.
template <typename Object>
struct LiveObjects {
    std::mutex mutex;
    std::vector<std::weak_ptr<Object>> objects;

    static LiveObjects& instance() {
        static auto* const live = new LiveObjects;  // threads may outlive static destructors
        return *live;
    }
};

/// Creates an object that is stopped at interpreter exit at the latest. Construction and destruction release the GIL,
/// because drivers are slow and destruction waits for threads.
///
/// The list of objects is used only with the GIL held, so that no fork can leave its mutex locked.
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

/// Registers `stop` for all objects that are alive at interpreter exit.
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
