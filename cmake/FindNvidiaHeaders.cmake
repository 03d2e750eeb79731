# Finds cuda.h, nvml.h and nvtx3/nvToolsExt.h: in NVIDIA_INCLUDE_DIR, then in NVIDIA's packages of the Python that
# builds (nvidia-cuda-runtime, nvidia-nvml-dev, nvidia-nvtx), then in an installed CUDA toolkit.
# Defines the target NvidiaHeaders::headers. Nothing is linked.
set(NVIDIA_INCLUDE_DIR "" CACHE PATH "Folder that holds cuda.h, nvml.h and nvtx3/")

execute_process(
  COMMAND "${Python_EXECUTABLE}" -c
    "import glob, sys; print(';'.join(h for p in sys.path for h in sorted(glob.glob(p + '/nvidia/*/include'), reverse=True)))"
  OUTPUT_VARIABLE nvidia_package_includes
  OUTPUT_STRIP_TRAILING_WHITESPACE)

set(nvidia_hints ${NVIDIA_INCLUDE_DIR} ${nvidia_package_includes} $ENV{CUDA_HOME}/include $ENV{CUDA_PATH}/include
  /usr/local/cuda/include)
find_path(NvidiaHeaders_CUDA_DIR cuda.h HINTS ${nvidia_hints})
find_path(NvidiaHeaders_NVML_DIR nvml.h HINTS ${nvidia_hints})
find_path(NvidiaHeaders_NVTX_DIR nvtx3/nvToolsExt.h HINTS ${nvidia_hints})

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(NvidiaHeaders
  REQUIRED_VARS NvidiaHeaders_CUDA_DIR NvidiaHeaders_NVML_DIR NvidiaHeaders_NVTX_DIR
  REASON_FAILURE_MESSAGE "install nvidia-cuda-runtime, nvidia-nvml-dev and nvidia-nvtx from PyPI into the Python that builds, or a CUDA toolkit, or pass -DNVIDIA_INCLUDE_DIR=")
if(NvidiaHeaders_FOUND AND NOT TARGET NvidiaHeaders::headers)
  add_library(NvidiaHeaders::headers INTERFACE IMPORTED)
  target_include_directories(NvidiaHeaders::headers SYSTEM INTERFACE
    ${NvidiaHeaders_CUDA_DIR} ${NvidiaHeaders_NVML_DIR} ${NvidiaHeaders_NVTX_DIR})
endif()
