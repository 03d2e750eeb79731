# SPDX-License-Identifier: MIT
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__version__: Final[str]

def build_info() -> dict[str, str]:
    """What this module was built from and with.

    Returns:
        version, commit ("unknown" without one), build_type, compiler, cxx_library ("shared" or "static"),
        cxx_standard (its year, such as "20"), pybind11 and cuda_headers (their versions).
    """

NOT_MEASURED: Final[int]
"""Marks an integer that was not measured in the arrays below (the smallest int64)."""

def monotonic_ns() -> int:
    """CLOCK_MONOTONIC in ns: the axis of every time here, the same as ``time.monotonic_ns``."""

# --- driver -----------------------------------------------------------------------------------------------

class LibraryStatus:
    @property
    def available(self) -> bool: ...
    @property
    def reason(self) -> str:
        """Why it is not available; empty if it is."""
    @property
    def path(self) -> str: ...

class CudaDevice:
    @property
    def ordinal(self) -> int:
        """CUDA's own number, after CUDA_VISIBLE_DEVICES."""
    @property
    def name(self) -> str: ...
    @property
    def uuid(self) -> str:
        """As NVML writes it: ``GPU-xxxxxxxx-...`` or ``MIG-...``."""
    @property
    def pci_bus_id(self) -> str: ...
    @property
    def total_memory_bytes(self) -> int: ...
    @property
    def compute_capability(self) -> tuple[int, int]: ...

def cuda_status() -> LibraryStatus:
    """The CUDA driver (``libcuda.so.1``; override: environment ``VIRNUC_PROFILER_LIBCUDA``)."""

def nvml_status() -> LibraryStatus:
    """NVML (``libnvidia-ml.so.1``; override: environment ``VIRNUC_PROFILER_LIBNVML``)."""

def cuda_devices() -> list[CudaDevice]:
    """The devices that this process may use; empty where the driver is not available."""

class CaptureRange:
    """The range that external tools capture (``nsys --capture-range=cudaProfilerApi``); begins when it is made.

    It ends when it is told to, or when it goes.

    Raises:
        LibraryUnavailable: no usable driver.
        CudaError: the call failed.
    """

    def __init__(self, device: int) -> None: ...
    def end(self) -> None:
        """Ends it; a second call does nothing, nor does one in a forked child.

        Raises:
            CudaError: the call failed.
        """

# --- capture ----------------------------------------------------------------------------------------------

class Stage:
    """A stage as a context manager; two device events of its own."""

    def __enter__(self) -> Stage: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

class Batch:
    """One batch that is being recorded. Several may be open at a time."""

    @property
    def index(self) -> int: ...
    def mark(self, stage: str, stream: int | None = None) -> None:
        """Ends the running stage of this batch, if any, and starts `stage`: one shared device event.

        Raises:
            ValueError: the timeline has no such stage, the batch has ended, or `stream` is negative or too large.
            TypeError: other arguments than these.
        """
    def mark_stamped(self, stage: str, stream: int | None, followed_by: str) -> bool:
        """As :meth:`mark`, for a stage whose own kernels read the device's timer, so that no event stands between them.

        Args:
            stage: its first kernel must read the device's global timer, and so must its last one.
            stream: for the event that is recorded if stamps are not wanted.
            followed_by: a stage that is marked later in the batch, and begins on the device, with an event, after this
                one has ended. It tells where stamps lie among the times of events.

        Returns:
            Whether stamps are wanted: then :meth:`set_stamps` must follow, before the batch ends and before another
            stage is stamped, or the batch counts as one without device times. Otherwise this was :meth:`mark`.

        Raises:
            ValueError: as for :meth:`mark`.
        """
    def set_stamps(self, start_ns: int, end_ns: int) -> None:
        """What the kernels of the latest stamped stage wrote, in ns. An end before the start means: nothing.

        Does nothing once the batch has ended.

        Raises:
            ValueError: no stage waits for stamps.
        """
    def end_stage(self) -> None:
        """Ends the running stage; does nothing if there is none."""
    def stage(self, stage: str, stream: int | None = None) -> Stage: ...
    def record_interval(self, stage: str, start_ns: int, end_ns: int) -> None:
        """Adds a host interval that was measured elsewhere, e.g. in a worker process."""
    def set_packing(self, statistics: PackStatistics) -> None: ...
    def end(self) -> None:
        """Ends the running stage and the batch. A second call does nothing."""
    def discard(self) -> None:
        """Takes the batch back, as if it had never begun (the fetch that found no more data)."""
    def __enter__(self) -> Batch: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

class Timeline:
    """Records batches and their stages; a native thread harvests the device times without the GIL.

    Args:
        stages: all stage names, in display order.
        device_stages: those of them that also get a device interval.
        device: CUDA ordinal, or None for host times only.
        stream: the ``CUstream`` handle to record on where a call names none.
        nvtx: whether stages are NVTX ranges too.
        event_pool_size: most events in flight; beyond it a batch loses its device times and is counted.
        harvest_interval_ms: how often the native thread collects finished events; more often if the pool runs low.
        anchor_interval_ms: how often host and device clocks are compared.

    Raises:
        LibraryUnavailable: a device was asked for and there is no usable driver.
        CudaError: the device cannot be used.
        ValueError: no stages, duplicates, or a device stage that is not a stage.
    """

    def __init__(
        self,
        stages: Sequence[str],
        device_stages: Sequence[str] = ...,
        *,
        device: int | None = None,
        stream: int = 0,
        nvtx: bool = True,
        event_pool_size: int = 4096,
        harvest_interval_ms: float = 20.0,
        anchor_interval_ms: float = 2000.0,
    ) -> None: ...
    def begin_batch(self, index: int) -> Batch: ...
    def stop(self, timeout_s: float = 10.0) -> None:
        """Waits for outstanding device times (at most `timeout_s`), then ends the native thread.

        Idempotent. Batches that are still open may be ended afterwards, without device times.
        """
    def batches(self) -> NDArray[np.void]:
        """Ended batches in order of their beginning; discarded ones left out.

        Structured array with fields (int64 unless noted): ``index``, ``host_start_ns``, ``host_end_ns``,
        ``stage_begin`` and ``stage_end`` (rows of :meth:`stages`), ``sequences``, ``tokens``, ``min_length``,
        ``max_length``, ``sum_squared_lengths``, ``token_budget`` (0: none), ``flags`` (uint32, bits below).
        """
    def stages(self) -> NDArray[np.void]:
        """Consistent with :meth:`batches` once the timeline is stopped.

        Fields: ``stage`` (int32), ``host_start_ns``, ``host_end_ns``, ``device_start_ns``,
        ``device_end_ns`` (int64). Device times are on the host's axis; NOT_MEASURED where there is none.
        Rows are grouped by batch, in the order of :meth:`batches`, and by start within a batch.
        """
    def anchors(self) -> NDArray[np.void]:
        """Fields (int64): ``host_ns``, ``device_ns`` (on the device's own axis), ``uncertainty_ns``."""
    @property
    def alignment(self) -> ClockAlignment | None:
        """How well device times lie on the host's axis; None before the clocks were compared."""
    @property
    def stage_names(self) -> list[str]: ...
    @property
    def device_enabled(self) -> bool:
        """Whether device times are still being taken."""
    @property
    def device_error(self) -> str | None:
        """Why device timing turned itself off in the middle of the run."""
    @property
    def dropped_batches(self) -> int:
        """Batches that lost device times: pool exhausted, device error, or not finished at the end."""
    @property
    def cross_thread_ranges(self) -> int:
        """Stages that ended on another thread than they began on: their NVTX ranges closed late."""
    @property
    def memory_bytes(self) -> int:
        """Bytes held by recorded batches and stages, spare chunks included."""
    @property
    def profiler_calls(self) -> int:
        """Calls of this timeline's batches and scopes, and of :meth:`begin_batch`."""
    @property
    def timed_calls(self) -> int:
        """Those that were timed: one in 31 or so, at uneven distances."""
    @property
    def timed_call_ns(self) -> int:
        """Time inside the timed calls, the wait for other marking threads included."""
    @property
    def harvest_cpu_ns(self) -> int | None:
        """CPU time of the native thread; None without a device."""

    BATCH_RECORD_BYTES: Final[int]
    STAGE_RECORD_BYTES: Final[int]
    CHUNK_BYTES: Final[int]
    """Storage grows by one chunk of each kind at a time. Beyond the records themselves it holds at most one
    partly used and one spare chunk of each kind."""
    HAS_PACKING: Final[int]
    OVERSIZE: Final[int]
    DEVICE_TIMES_DROPPED: Final[int]
    """Bits of ``flags``."""

class ClockAlignment:
    """How well device times lie on the host's axis."""

    @property
    def uncertainty_ns(self) -> int:
        """Error bar: of the anchors in use, half the bracket of the widest."""
    @property
    def residual_ns(self) -> int | None:
        """The furthest that an anchor lies from the line through its neighbours; None with fewer than three."""
    @property
    def drift_ppm(self) -> float | None:
        """How much faster the device's clock ran, by least squares; None if the anchors span less than a second."""

class GpuSampler:
    """Samples one GPU through NVML from native threads, one for each tier of query cost.

    Args:
        uuid: the device, as ``CudaDevice.uuid`` gives it.
        fast_interval_ms: utilisation, power, clocks, temperature, throttle reasons, memory; 0 turns it off.
        gpm_interval_ms: SM, tensor and DRAM activity (Hopper and later), at least 100; 0 turns it off.
        energy_interval_ms: the total energy counter; 0 turns it off.
        processes_interval_ms: other processes on the device; 0 turns it off.

    Raises:
        LibraryUnavailable: no usable NVML, or no such device; the message says which.
        ValueError: an interval that is negative or too short.
    """

    def __init__(
        self,
        uuid: str,
        *,
        fast_interval_ms: float = 100.0,
        gpm_interval_ms: float = 250.0,
        energy_interval_ms: float = 2000.0,
        processes_interval_ms: float = 2000.0,
    ) -> None: ...
    def start(self) -> None: ...
    def stop(self, timeout_s: float = 0.5) -> None:
        """Ends the threads; one stuck inside NVML is left behind and counted as stalled. Idempotent."""
    def fast_readings(self) -> NDArray[np.void]:
        """Fields (int64): ``at_ns``, ``utilization_percent``, ``memory_utilization_percent``, ``power_mw``,
        ``sm_clock_mhz``, ``memory_clock_mhz``, ``temperature_c``, ``throttle_reasons``,
        ``used_memory_bytes``.
        """
    def gpm_readings(self) -> NDArray[np.void]:
        """Fields: ``at_ns``, ``interval_ns`` (int64), ``sm_activity``, ``tensor_activity``, ``dram_activity``
        (float64, 0 to 1, NaN where not measured): means over the interval that ends at ``at_ns``.
        """
    def energy_readings(self) -> NDArray[np.void]:
        """Fields (int64): ``at_ns``, ``energy_mj`` (millijoules since the driver was loaded)."""
    def process_readings(self) -> NDArray[np.void]:
        """Fields (int64): ``at_ns``, ``other_processes``, ``other_sm_percent``."""
    @property
    def max_sm_clock_mhz(self) -> int | None:
        """The highest SM clock that the card may run at."""
    def tiers(self) -> list[SamplerTier]: ...

class SamplerTier:
    @property
    def name(self) -> str:
        """``fast``, ``gpm``, ``energy`` or ``processes``."""
    @property
    def interval_ms(self) -> float: ...
    @property
    def readings(self) -> int: ...
    @property
    def missed_deadlines(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def stalled(self) -> bool: ...
    @property
    def unsupported(self) -> str:
        """Why this tier takes no readings on this device; empty if it does."""
    @property
    def cpu_ns(self) -> int | None:
        """CPU time of its thread; None if it is turned off, or was left behind."""

# --- packing ----------------------------------------------------------------------------------------------

class PackStatistics:
    """What one pack holds. Lengths are in tokens, BOS and EOS included."""

    @property
    def sequences(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def min_length(self) -> int: ...
    @property
    def mean_length(self) -> float: ...
    @property
    def max_length(self) -> int: ...
    @property
    def sum_squared_lengths(self) -> int:
        """Attention work: the sum over sequences of length squared."""
    @property
    def token_budget(self) -> int | None: ...
    @property
    def packing_efficiency(self) -> float | None:
        """tokens / token_budget, 0 to 1; None without a budget and for an oversize pack."""
    @property
    def oversize(self) -> bool:
        """More tokens than the budget: a single sequence that no budget of this size can hold."""
    @property
    def padding_tokens(self) -> int:
        """Tokens that a padded batch of the same sequences would have wasted."""

def pack_statistics(cu_seqlens: NDArray[np.int32], token_budget: int | None = None) -> PackStatistics:
    """Statistics of a pack from its cumulative lengths, shape (sequences + 1,), starting at 0.

    Raises:
        ValueError: not one-dimensional, empty, not starting at 0, or decreasing; a budget below 1, or one that
            several sequences exceed together, so that it cannot be the one they were packed to.
    """

def pack_sequences(lengths: NDArray[np.int64], token_budget: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Packs sequences into bins of `token_budget` tokens, best-fit decreasing, O(n log n), deterministic.

    Args:
        lengths: shape (n,), tokens per sequence, each at least 1.
        token_budget: tokens per pack, at least 1. A longer sequence gets a pack of its own.

    Returns:
        ``order`` (n,): sequence numbers, pack after pack; ``pack_offsets`` (packs + 1,): where each pack
        starts in it.

    Raises:
        ValueError: not one-dimensional, a length below 1, or a budget below 1.
    """

class FastaIndex:
    """Where each sequence of an uncompressed FASTA text lies: five arrays of shape (n,), all int64."""

    @property
    def header_starts(self) -> NDArray[np.int64]:
        """Offset of the first byte after ``>``."""
    @property
    def id_ends(self) -> NDArray[np.int64]:
        """Offset after the identifier (the header up to the first white space)."""
    @property
    def sequence_starts(self) -> NDArray[np.int64]: ...
    @property
    def sequence_ends(self) -> NDArray[np.int64]: ...
    @property
    def residue_counts(self) -> NDArray[np.int64]:
        """Residues, white space and a final ``*`` left out."""
    def __len__(self) -> int: ...

class FastaFormatError(ValueError):
    """The text is not FASTA. ``args`` is ``(message, line)``, the line number counted from 1."""

def index_fasta(text: Any) -> FastaIndex:
    """One pass over a FASTA text (any object with a contiguous byte buffer), without the GIL.

    Raises:
        FastaFormatError: text before the first header, a header without an identifier or without residues, a
            byte that cannot belong to a sequence (control characters, NUL), or no sequence at all.
    """

class EncodedSequences:
    @property
    def tokens(self) -> NDArray[np.uint8]:
        """All sequences' tokens one after the other, each with its BOS and EOS; shape (tokens,)."""
    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where each sequence starts in ``tokens``; shape (n + 1,)."""
    @property
    def truncated(self) -> int:
        """Sequences that were longer than the limit."""
    @property
    def unknown_residues(self) -> int:
        """Letters that the alphabet lacks (among those kept), encoded as its unknown token."""

def encode_residues(
    text: Any,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    table: NDArray[np.uint8],
    *,
    bos: int,
    eos: int,
    unknown: int,
    max_residues: int,
) -> EncodedSequences:
    """Encodes the sequences at ``text[starts[i]:ends[i]]``, without the GIL.

    White space is skipped, letters are read as upper case, one final ``*`` is dropped, and what lies beyond
    `max_residues` is cut off and counted.

    Args:
        table: shape (256,), token of each byte; 255 where the alphabet lacks it.

    Raises:
        ValueError: shapes or ranges that do not fit.
    """

def gather_sequences(
    tokens: NDArray[np.uint8], offsets: NDArray[np.int64], order: NDArray[np.int64], out: NDArray[np.uint8]
) -> NDArray[np.int32]:
    """Copies sequences ``order`` one after the other into `out`, without the GIL; returns their cu_seqlens.

    Raises:
        ValueError: a sequence number out of range, or `out` too small.
    """
