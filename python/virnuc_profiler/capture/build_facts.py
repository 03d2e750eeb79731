# SPDX-License-Identifier: MIT
"""What the compiled core was built from and with."""


def build_facts() -> str:
    """Describe the build of the compiled core on one line: commit, build type, compiler, and header versions.

    Returns:
        The facts separated by commas, or the reason why the core cannot be loaded.
    """
    try:
        from virnuc_profiler import _core  # needs NumPy
    except ImportError as error:
        return f"the compiled core cannot be loaded: {error}"
    info = _core.build_info()
    return ", ".join(
        [
            f"commit {info['commit']}",
            f"{info['build_type']} build",
            f"{info['compiler']} ({info['cxx_library']} C++ library)",
            f"C++{info['cxx_standard']}",
            f"pybind11 {info['pybind11']}",
            f"CUDA headers {info['cuda_headers']}",
        ]
    )
