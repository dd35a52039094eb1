#include "bindings/regions_py.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/utf8.h"
#include "recorder/regions.h"

namespace picojoule {
namespace {

PyObject* g_names = nullptr;    // str -> the one str of that content; keeps cached names alive
PyObject* g_current = nullptr;  // ContextVar: path id that a task made in this context starts below
PyObject* g_usage_error = nullptr;  // picojoule.errors.UsageError

struct RegionObject {
    PyObject_HEAD PyObject* name;
    std::int32_t opens;  // calls open now; more than one where a decorated function recurses
    std::atomic<std::int32_t> orphans;  // frames of it that stand in a stack though it was closed
    PathId last_path;  // of the latest call, for one that is closed in another thread
};

struct Frame {
    RegionObject* region;  // strong; null for a native frame
    std::int64_t enter_ns;
    PathId path;
    bool repeats;           // the same path is open below: its time is that one's
    NativeFrame native{0};  // 0 for a frame of Python's
};

// The regions open in one thread, or in one asyncio task (a task has a context of its own).
struct Stack {
    PyObject* context{};  // strong; null for a thread's own stack
    PathId base{kRootPath};
    std::vector<Frame> frames;

    [[nodiscard]] PathId top() const { return frames.empty() ? base : frames.back().path; }
    [[nodiscard]] bool has_open(PathId path) const {
        return std::any_of(frames.begin(), frames.end(),
                           [&](const Frame& f) { return f.path == path; });
    }
};

struct Cached {
    PyObject* name;  // borrowed from g_names, which never lets go
    PathId parent;
    PathId path;
};

// The same for names that are no Python objects.
struct NativeCached {
    std::string name;
    PathId parent{kRootPath};
    PathId path{kRootPath};  // the root: not filled
};

constexpr std::size_t kCache = 512;
constexpr std::size_t kNativeCache = 256;
PyObject* const kNoContextYet = reinterpret_cast<PyObject*>(1);

// What one thread knows on the Python side.
struct PyThread {
    PyObject* context{kNoContextYet};  // borrowed; whose stack `stack` is
    Stack* stack{};
    Stack own;
    std::unordered_map<PyObject*, std::unique_ptr<Stack>> tasks;
    Cached cache[kCache]{};
    std::vector<NativeCached> native_cache;  // made when first needed
    NativeFrame last_native{0};
    bool has_regions{};  // of Python's, at any time
    bool is_main{};      // the process's first thread
    bool left_empty{};   // a task's stack was emptied where it could not be dropped
};

// Regions closed in another thread than they were opened in leave a frame behind, which only the
// opening thread may remove. Zero practically always.
std::atomic<std::int64_t> g_orphans{};

thread_local PyThread* t_thread __attribute__((tls_model("initial-exec"))) = nullptr;

void close_native(Stack& stack);

struct PyThreadExit {
    PyThread* mine{};
    ~PyThreadExit() {
        if (mine != nullptr) close_native(mine->own);
        // Frames hold references that cannot be dropped without the GIL; a thread that ends inside
        // a region leaves them to the process.
        if (mine != nullptr && mine->own.frames.empty() && mine->tasks.empty()) delete mine;
        t_thread = nullptr;
    }
};

PyThread& this_thread() {
    if (t_thread == nullptr) [[unlikely]] {
        RegionStore::this_thread();  // made first, so that at the thread's end it goes last
        thread_local PyThreadExit exit_guard;
        t_thread = exit_guard.mine = new PyThread;
        t_thread->is_main = ::syscall(SYS_gettid) == ::getpid();
    }
    return *t_thread;
}

// Whether somebody runs code inside this context (a task does); a thread's own is never "entered".
bool is_entered(PyObject* context) {
    if (PyContext_Enter(context) != 0) {
        PyErr_Clear();
        return true;
    }
    if (PyContext_Exit(context) != 0) PyErr_Clear();
    return false;
}

// A native frame may be the last of a task's stack, and is closed where no reference can be
// dropped.
void drop_left_empty(PyThread& thread) {
    thread.left_empty = false;
    std::vector<PyObject*> contexts;
    for (auto task = thread.tasks.begin(); task != thread.tasks.end();) {
        if (!task->second->frames.empty()) {
            ++task;
            continue;
        }
        contexts.push_back(task->first);
        task = thread.tasks.erase(task);
    }
    thread.context = kNoContextYet;
    thread.stack = nullptr;
    for (PyObject* context : contexts) Py_DECREF(context);  // last: it may run anything
}

Stack* switch_context(PyThread& thread, PyObject* context) {
    thread.has_regions = true;
    if (thread.left_empty) drop_left_empty(thread);
    if (context == nullptr || !is_entered(context)) {
        thread.context = context;
        return thread.stack = &thread.own;
    }
    auto& task = thread.tasks[context];
    if (task == nullptr) {
        task = std::make_unique<Stack>();
        task->context = Py_NewRef(context);
        task->base = thread.own.top();
        PyObject* below = nullptr;
        if (PyContextVar_Get(g_current, nullptr, &below) == 0 && below != nullptr) {
            task->base = static_cast<PathId>(PyLong_AsUnsignedLong(below));
            Py_DECREF(below);
        }
        PyErr_Clear();
    }
    thread.context = context;
    return thread.stack = task.get();
}

void bury_orphans(Stack& stack) {
    for (std::size_t i = stack.frames.size(); i-- > 0;) {
        RegionObject* region = stack.frames[i].region;
        if (region == nullptr || region->orphans.load() == 0) continue;
        region->orphans.fetch_sub(1);
        g_orphans.fetch_sub(1);
        stack.frames.erase(stack.frames.begin() + static_cast<std::ptrdiff_t>(i));
        Py_DECREF(region);
    }
}

Stack& current_stack(PyThread& thread) {
    PyObject* context = PyThreadState_Get()->context;
    if (g_orphans.load(std::memory_order_relaxed) != 0) [[unlikely]] {
        bury_orphans(thread.own);
        for (auto& [_, task] : thread.tasks) bury_orphans(*task);
    }
    if (context == thread.context && thread.stack != nullptr) [[likely]]
        return *thread.stack;
    return *switch_context(thread, context);
}

// Tasks made from here on begin below the present region, whatever happens to it by then.
void publish(const Stack& stack) {
    PyObject* path = PyLong_FromUnsignedLong(stack.top());
    PyObject* token = path == nullptr ? nullptr : PyContextVar_Set(g_current, path);
    Py_XDECREF(path);
    Py_XDECREF(token);
    PyErr_Clear();
}

// A task's stack lives while something is open in it.
void drop_if_empty(PyThread& thread, Stack& stack) {
    if (stack.context == nullptr || !stack.frames.empty()) return;
    PyObject* context = stack.context;
    thread.context = kNoContextYet;
    thread.stack = nullptr;
    thread.tasks.erase(context);
    Py_DECREF(context);
}

PathId find_path(PyThread& thread, PathId parent, PyObject* name) {
    const auto slot = [&](PyObject* key) -> Cached& {
        const auto hash =
            (reinterpret_cast<std::uintptr_t>(key) >> 4U) ^ (std::uintptr_t{parent} * 0x9E3779B1U);
        return thread.cache[hash % kCache];
    };
    const Cached& hit = slot(name);
    if (hit.name == name && hit.parent == parent) [[likely]]
        return hit.path;
    // A string of the same content may be known under another address.
    PyObject* known = PyDict_GetItemWithError(g_names, name);
    if (known == nullptr && !PyErr_Occurred() &&
        static_cast<std::size_t>(PyDict_GET_SIZE(g_names)) < kMostPaths &&
        PyDict_SetItem(g_names, name, name) == 0) {
        known = name;
    }
    PyErr_Clear();
    if (known != nullptr && known != name) {
        const Cached& other = slot(known);
        if (other.name == known && other.parent == parent) return other.path;
    }
    Py_ssize_t size = 0;
    const char* text = PyUnicode_AsUTF8AndSize(name, &size);
    if (text == nullptr) {  // lone surrogates
        PyErr_Clear();
        text = "(unprintable name)";
        size = 18;
    }
    const PathId path = RegionStore::instance().paths().intern(
        parent, std::string_view(text, static_cast<std::size_t>(size)));
    if (known != nullptr) slot(known) = {known, parent, path};
    return path;
}

bool region_enter(RegionObject* self) {
    PyThread& thread = this_thread();
    Stack& stack = current_stack(thread);
    const PathId path = find_path(thread, stack.top(), self->name);
    ThreadRegions& regions = RegionStore::this_thread();
    const bool repeats = stack.has_open(path);
    const std::int64_t now = now_ns();
    if (repeats)
        regions.count_only(path);
    else
        regions.enter(path, now);
    try {
        stack.frames.push_back({self, now, path, repeats});
    } catch (const std::bad_alloc&) {
        if (!repeats) regions.exit(path, now);
        PyErr_NoMemory();
        return false;
    }
    Py_INCREF(self);
    ++self->opens;
    self->last_path = path;
    if (stack.context != nullptr) publish(stack);
    regions.set_present(path);
    return true;
}

void close_time(const Frame& frame, std::int64_t now) {
    ThreadRegions& regions = RegionStore::this_thread();
    if (!frame.repeats) regions.exit(frame.path, now);
    if (now - frame.enter_ns >=
        RegionStore::instance().least_span_ns.load(std::memory_order_relaxed)) {
        regions.keep_span({frame.enter_ns, now, frame.path});
    }
}

void close_frame(const Frame& frame, std::int64_t now) {
    close_time(frame, now);
    --frame.region->opens;
    Py_DECREF(frame.region);
}

// The region is not the innermost open one here: closed out of order (a generator that ends while
// its consumer is inside a region of its own), from another task or another thread, or not open at
// all.
bool exit_elsewhere(RegionObject* self, PyThread& thread, Stack& stack, std::int64_t now) {
    const auto take_from = [&](Stack& s) {
        for (std::size_t i = s.frames.size(); i-- > 0;) {
            if (s.frames[i].region != self) continue;
            const Frame frame = s.frames[i];
            if (i + 1 != s.frames.size()) {
                RegionStore::instance().closed_out_of_order.fetch_add(1, std::memory_order_relaxed);
            }
            s.frames.erase(s.frames.begin() + static_cast<std::ptrdiff_t>(i));
            close_frame(frame, now);
            RegionStore::this_thread().set_present(stack.top());
            return true;
        }
        return false;
    };
    if (self->opens > 0) {
        if (take_from(stack)) {
            if (stack.context != nullptr) publish(stack);
            drop_if_empty(thread, stack);
            return true;
        }
        if (take_from(thread.own)) return true;
        for (auto& [context, task] : thread.tasks) {
            if (!take_from(*task)) continue;
            drop_if_empty(thread, *task);
            return true;
        }
        // Opened in another thread (a generator handed over): its time counts there and here.
        RegionStore::this_thread().exit(self->last_path, now);
        --self->opens;
        self->orphans.fetch_add(1);
        g_orphans.fetch_add(1);
        return true;
    }
    PyErr_Format(g_usage_error,
                 "region %R is closed but was not open: it was closed twice, or never entered. "
                 "Use `with picojoule.region(...)`, which pairs the two.",
                 self->name);
    return false;
}

bool region_exit(RegionObject* self) {
    const std::int64_t now = now_ns();
    PyThread& thread = this_thread();
    Stack& stack = current_stack(thread);
    if (stack.frames.empty() || stack.frames.back().region != self) [[unlikely]] {
        return exit_elsewhere(self, thread, stack, now);
    }
    const Frame frame = stack.frames.back();
    stack.frames.pop_back();
    const PathId below = stack.top();
    if (stack.context != nullptr) {
        publish(stack);
        drop_if_empty(thread, stack);
    }
    close_frame(frame, now);
    RegionStore::this_thread().set_present(below);
    return true;
}

// The stack a launch in this thread belongs to. Unlike current_stack() it may be called without the
// GIL: of the interpreter's state it reads only this thread's own context, which no other thread
// changes. Null: this thread never was in a region.
Stack& stack_without_gil(PyThread& thread) noexcept {
    const PyThreadState* state = PyGILState_GetThisThreadState();
    PyObject* context = state == nullptr ? nullptr : state->context;
    if (context == thread.context && thread.stack != nullptr) return *thread.stack;
    const auto task = thread.tasks.find(context);
    return task != thread.tasks.end() ? *task->second : thread.own;
}

// ---- native frames ----

PathId find_native_path(PyThread& thread, PathId parent, std::string_view name) {
    if (thread.native_cache.empty()) thread.native_cache.resize(kNativeCache);
    const std::size_t hash =
        std::hash<std::string_view>{}(name) ^ (std::size_t{parent} * 0x9E3779B1U);
    NativeCached& slot = thread.native_cache[hash % kNativeCache];
    if (slot.path != kRootPath && slot.parent == parent && slot.name == name) return slot.path;
    slot.path = kRootPath;  // should the copy of the name fail
    slot.name = name;
    slot.parent = parent;
    slot.path = RegionStore::instance().paths().intern(parent, as_utf8(name));
    return slot.path;
}

// A worker of some library must not pass for the thread that autograd's threads work for.
void tell_present(const PyThread& thread, const Stack& stack) {
    if (thread.has_regions || thread.is_main) RegionStore::this_thread().set_present(stack.top());
}

void close_native(Stack& stack) {
    const std::int64_t now = now_ns();
    for (std::size_t i = stack.frames.size(); i-- > 0;) {
        if (stack.frames[i].native == 0) continue;
        close_time(stack.frames[i], now);
        stack.frames.erase(stack.frames.begin() + static_cast<std::ptrdiff_t>(i));
    }
}

bool take_native(Stack& stack, NativeFrame native, std::int64_t now) {
    for (std::size_t i = stack.frames.size(); i-- > 0;) {
        if (stack.frames[i].native != native) continue;
        if (i + 1 != stack.frames.size()) {
            RegionStore::instance().closed_out_of_order.fetch_add(1, std::memory_order_relaxed);
        }
        close_time(stack.frames[i], now);
        stack.frames.erase(stack.frames.begin() + static_cast<std::ptrdiff_t>(i));
        return true;
    }
    return false;
}

// ---- region: the type ----

PyObject* region_call(PyObject* self, PyObject* args, PyObject* kwargs);

PyObject* region_make(PyTypeObject* type, PyObject* name) {
    auto* self = reinterpret_cast<RegionObject*>(type->tp_alloc(type, 0));
    if (self == nullptr) return nullptr;
    self->name = Py_NewRef(name);
    self->opens = 0;
    new (&self->orphans) std::atomic<std::int32_t>(0);
    self->last_path = kRootPath;
    return reinterpret_cast<PyObject*>(self);
}

// region("name"), or @region on a function, which takes the function's qualified name.
PyObject* region_vectorcall(PyObject* type, PyObject* const* args, std::size_t flags,
                            PyObject* names) {
    PyObject* name = nullptr;
    const Py_ssize_t n = PyVectorcall_NARGS(flags);
    if (n == 1 && names == nullptr) {
        name = args[0];
    } else if (n == 0 && names != nullptr && PyTuple_GET_SIZE(names) == 1 &&
               PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "name") == 0) {
        name = args[0];
    } else {
        PyErr_SetString(PyExc_TypeError, "region(name): one argument, the region's name");
        return nullptr;
    }
    auto* cls = reinterpret_cast<PyTypeObject*>(type);
    if (PyUnicode_Check(name)) [[likely]]
        return region_make(cls, name);
    if (PyCallable_Check(name)) {
        PyObject* title = PyObject_GetAttrString(name, "__qualname__");
        if (title == nullptr) return nullptr;
        PyObject* region = region_make(cls, title);
        Py_DECREF(title);
        if (region == nullptr) return nullptr;
        PyObject* one = PyTuple_Pack(1, name);
        PyObject* wrapped = one == nullptr ? nullptr : region_call(region, one, nullptr);
        Py_XDECREF(one);
        Py_DECREF(region);
        return wrapped;
    }
    PyErr_Format(PyExc_TypeError, "a region's name must be a str, not %.100s",
                 Py_TYPE(name)->tp_name);
    return nullptr;
}

PyObject* region_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    PyObject* name = nullptr;
    static const char* keywords[] = {"name", nullptr};
    if (PyArg_ParseTupleAndKeywords(args, kwargs, "O:region", const_cast<char**>(keywords),
                                    &name) == 0) {
        return nullptr;
    }
    return region_vectorcall(reinterpret_cast<PyObject*>(type), &name, 1, nullptr);
}

void region_dealloc(PyObject* object) {
    auto* self = reinterpret_cast<RegionObject*>(object);
    PyTypeObject* type = Py_TYPE(object);
    Py_XDECREF(self->name);
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject* region_dunder_enter(PyObject* self, PyObject*) {
    return region_enter(reinterpret_cast<RegionObject*>(self)) ? Py_NewRef(self) : nullptr;
}

PyObject* region_dunder_exit(PyObject* self, PyObject* const*, Py_ssize_t) {
    // An exception passes through: what was spent was spent.
    return region_exit(reinterpret_cast<RegionObject*>(self)) ? Py_NewRef(Py_False) : nullptr;
}

PyObject* region_repr(PyObject* self) {
    return PyUnicode_FromFormat("region(%R)", reinterpret_cast<RegionObject*>(self)->name);
}

PyObject* region_name(PyObject* self, void*) {
    return Py_NewRef(reinterpret_cast<RegionObject*>(self)->name);
}

// As a decorator. Which kind of function it is, Python's inspect knows best: see _decorate.py.
PyObject* region_call(PyObject* self, PyObject* args, PyObject* kwargs) {
    if (kwargs != nullptr || PyTuple_GET_SIZE(args) != 1) {
        PyErr_SetString(PyExc_TypeError, "a region decorates one function");
        return nullptr;
    }
    PyObject* module = PyImport_ImportModule("picojoule._decorate");
    if (module == nullptr) return nullptr;
    PyObject* out = PyObject_CallMethod(module, "region", "OO", self, PyTuple_GET_ITEM(args, 0));
    Py_DECREF(module);
    return out;
}

PyMethodDef region_methods[] = {
    {"__enter__", region_dunder_enter, METH_NOARGS, "Open the region in this thread or task."},
    {"__exit__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(region_dunder_exit)),
     METH_FASTCALL, "Close it; an exception passes through."},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef region_getset[] = {
    {"name", region_name, nullptr, "What the region is called.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot region_slots[] = {
    {Py_tp_doc,
     const_cast<char*>(
         "region(name)\n--\n\n"
         "Name what the program is doing: a context manager and a decorator.\n\n"
         "Regions nest, recurse, and run side by side in threads and asyncio tasks. Once a path "
         "is\n"
         "known to its thread, entering and leaving takes two clock reads, no lock and no device "
         "call.\n"
         "Decorates plain, async, generator and async-generator functions and methods; of "
         "generators\n"
         "the time inside the generator is counted, not that of its consumer. Regions outside a\n"
         "profile cost the same and are not reported.\n\n"
         "Raises:\n"
         "    TypeError: the name is no str.\n"
         "    picojoule.errors.UsageError: closed without being open.")},
    {Py_tp_new, reinterpret_cast<void*>(region_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(region_dealloc)},
    {Py_tp_call, reinterpret_cast<void*>(region_call)},
    {Py_tp_repr, reinterpret_cast<void*>(region_repr)},
    {Py_tp_methods, region_methods},
    {Py_tp_getset, region_getset},
    {0, nullptr},
};

PyType_Spec region_spec = {"picojoule._core.region", sizeof(RegionObject), 0, Py_TPFLAGS_DEFAULT,
                           region_slots};

// ---- Wrapped: a plain function inside a region ----

struct WrappedObject {
    PyObject_HEAD PyObject* function;
    PyObject* region;
    PyObject* dict;
    vectorcallfunc vectorcall;
};

PyObject* wrapped_vectorcall(PyObject* object, PyObject* const* args, std::size_t flags,
                             PyObject* names) {
    auto* self = reinterpret_cast<WrappedObject*>(object);
    auto* region = reinterpret_cast<RegionObject*>(self->region);
    if (!region_enter(region)) return nullptr;
    PyObject* result = PyObject_Vectorcall(self->function, args, flags, names);
    if (result != nullptr) {
        if (!region_exit(region)) Py_CLEAR(result);
        return result;
    }
    // The function's own exception is the one to see.
#if PY_VERSION_HEX >= 0x030C0000
    PyObject* raised = PyErr_GetRaisedException();
    if (!region_exit(region)) PyErr_Clear();
    PyErr_SetRaisedException(raised);
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!region_exit(region)) PyErr_Clear();
    PyErr_Restore(type, value, traceback);
#endif
    return nullptr;
}

PyObject* wrapped_new(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject *function = nullptr, *region = nullptr;
    if (PyArg_ParseTuple(args, "OO:Wrapped", &function, &region) == 0) return nullptr;
    auto* self = reinterpret_cast<WrappedObject*>(type->tp_alloc(type, 0));
    if (self == nullptr) return nullptr;
    self->function = Py_NewRef(function);
    self->region = Py_NewRef(region);
    self->vectorcall = wrapped_vectorcall;
    return reinterpret_cast<PyObject*>(self);
}

int wrapped_traverse(PyObject* object, visitproc visit, void* arg) {
    auto* self = reinterpret_cast<WrappedObject*>(object);
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->function);
    Py_VISIT(self->region);
    Py_VISIT(self->dict);
    return 0;
}

int wrapped_clear(PyObject* object) {
    auto* self = reinterpret_cast<WrappedObject*>(object);
    Py_CLEAR(self->function);
    Py_CLEAR(self->region);
    Py_CLEAR(self->dict);
    return 0;
}

void wrapped_dealloc(PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    wrapped_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject* wrapped_get(PyObject* self, PyObject* instance, PyObject*) {
    return instance == nullptr || instance == Py_None ? Py_NewRef(self)
                                                      : PyMethod_New(self, instance);
}

PyObject* wrapped_reduce(PyObject* self, PyObject*) {
    return PyObject_GetAttrString(self, "__qualname__");  // pickled by name, as functions are
}

PyObject* wrapped_repr(PyObject* self) {
    return PyUnicode_FromFormat("<%R inside a region>",
                                reinterpret_cast<WrappedObject*>(self)->function);
}

PyMethodDef wrapped_methods[] = {
    {"__reduce__", wrapped_reduce, METH_NOARGS, "Pickle by name."},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef wrapped_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(WrappedObject, dict), READONLY, nullptr},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(WrappedObject, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyGetSetDef wrapped_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot wrapped_slots[] = {
    {Py_tp_doc, const_cast<char*>("A function that runs inside a region at each call.")},
    {Py_tp_new, reinterpret_cast<void*>(wrapped_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(wrapped_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(wrapped_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(wrapped_clear)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_descr_get, reinterpret_cast<void*>(wrapped_get)},
    {Py_tp_repr, reinterpret_cast<void*>(wrapped_repr)},
    {Py_tp_methods, wrapped_methods},
    {Py_tp_members, wrapped_members},
    {Py_tp_getset, wrapped_getset},
    {0, nullptr},
};

PyType_Spec wrapped_spec = {"picojoule._core.Wrapped", sizeof(WrappedObject), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                                Py_TPFLAGS_METHOD_DESCRIPTOR,
                            wrapped_slots};

int add_type(PyObject* module, PyType_Spec& spec, const char* name, vectorcallfunc construct) {
    PyObject* type = PyType_FromModuleAndSpec(module, &spec, nullptr);
    if (type == nullptr) return -1;
    if (construct != nullptr) reinterpret_cast<PyTypeObject*>(type)->tp_vectorcall = construct;
    const int status = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return status;
}

}  // namespace

PathId path_of_launch() noexcept {
    PyThread* thread = t_thread;
    if (thread == nullptr) return RegionStore::instance().present_path();
    const Stack& stack = stack_without_gil(*thread);
    // A thread that was only ever in native frames works for another as much as one without any.
    if (stack.frames.empty() && !thread->has_regions) return RegionStore::instance().present_path();
    return stack.top();
}

NativeFrame enter_native(std::string_view name) noexcept {
    try {
        PyThread& thread = this_thread();
        Stack& stack = stack_without_gil(thread);
        const PathId path = find_native_path(thread, stack.top(), name);
        const bool repeats = stack.has_open(path);
        const std::int64_t now = now_ns();
        stack.frames.push_back({nullptr, now, path, repeats, ++thread.last_native});
        ThreadRegions& regions = RegionStore::this_thread();
        if (repeats)
            regions.count_only(path);
        else
            regions.enter(path, now);
        tell_present(thread, stack);
        return thread.last_native;
    } catch (...) {
        return 0;  // out of memory: the range is not seen, the program goes on
    }
}

void exit_native(NativeFrame frame) noexcept {
    PyThread* thread = t_thread;
    if (frame == 0 || thread == nullptr) return;
    const std::int64_t now = now_ns();
    Stack& here = stack_without_gil(*thread);
    bool found = take_native(here, frame, now) || take_native(thread->own, frame, now);
    for (auto task = thread->tasks.begin(); !found && task != thread->tasks.end(); ++task)
        found = take_native(*task->second, frame, now);
    thread->left_empty = !thread->tasks.empty();
    tell_present(*thread, here);
}

NativePlace place_native(std::string_view name) {
    PyThread& thread = this_thread();
    const Stack& stack = stack_without_gil(thread);
    const PathId path = find_native_path(thread, stack.top(), name);
    return {path, stack.has_open(path)};
}

int add_region_types(PyObject* module) {
    g_names = PyDict_New();
    g_current = PyContextVar_New("picojoule_region", nullptr);
    PyObject* errors = PyImport_ImportModule("picojoule.errors");
    if (g_names == nullptr || g_current == nullptr || errors == nullptr) return -1;
    g_usage_error = PyObject_GetAttrString(errors, "UsageError");
    Py_DECREF(errors);
    if (g_usage_error == nullptr) return -1;
    if (add_type(module, region_spec, "region", region_vectorcall) != 0) return -1;
    return add_type(module, wrapped_spec, "Wrapped", nullptr);
}

}  // namespace picojoule
