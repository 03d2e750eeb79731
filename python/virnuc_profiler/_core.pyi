# SPDX-License-Identifier: MIT
"""The compiled core: device events, NVTX ranges, NVML sampling, packing."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, final

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
"""Stands for an integer that was not measured in the arrays below (the smallest int64)."""

def monotonic_ns() -> int:
    """Return CLOCK_MONOTONIC in ns: the clock of all host times here, the same as ``time.monotonic_ns``."""

# --- Driver -----------------------------------------------------------------------------------------------

class LibraryStatus:
    """Whether an optional library can be used, and if not, why."""

    @property
    def available(self) -> bool:
        """Whether the library can be used."""
    @property
    def reason(self) -> str:
        """Why the library is unavailable; empty if it is available."""
    @property
    def code(self) -> int | None:
        """Code with which its initialization failed: a ``CUresult`` or ``nvmlReturn_t``; None if it was not tried."""
    @property
    def path(self) -> str:
        """File of the library; empty if none was found."""

class CudaDevice:
    """A CUDA device that this process may use."""

    @property
    def ordinal(self) -> int:
        """CUDA's number of the device, after CUDA_VISIBLE_DEVICES."""
    @property
    def name(self) -> str:
        """Name of the device, e.g. ``NVIDIA H200``."""
    @property
    def uuid(self) -> str:
        """UUID in NVML's form: ``GPU-xxxxxxxx-...`` or ``MIG-...``."""
    @property
    def pci_bus_id(self) -> str:
        """PCI bus ID, e.g. ``0000:01:00.0``."""
    @property
    def total_memory_bytes(self) -> int:
        """Total memory of the device in bytes."""
    @property
    def compute_capability(self) -> tuple[int, int]:
        """Compute capability as (major, minor)."""

def cuda_status() -> LibraryStatus:
    """Return whether the CUDA driver can be used in this process.

    The driver is ``libcuda.so.1``, or the file that the environment variable ``VIRNUC_PROFILER_LIBCUDA`` names.
    """

def nvml_status() -> LibraryStatus:
    """Return whether NVML can be used in this process.

    NVML is ``libnvidia-ml.so.1``, or the file that the environment variable ``VIRNUC_PROFILER_LIBNVML`` names.
    """

def cuda_devices() -> list[CudaDevice]:
    """Return the devices that this process may use; empty if the driver is unavailable.

    Raises:
        CudaError: A driver call failed.
    """

def copy_async(target: int, source: int, size: int, stream: int) -> bool:
    """Queue an asynchronous copy, as :meth:`Batch.copy` does, without recording it.

    Args:
        target: Address of the memory that is written, on the device or pinned on the host.
        source: Address of the memory that is read, on the device or pinned on the host.
        size: Number of bytes.
        stream: ``CUstream`` handle of the current context.

    Returns:
        Whether the copy was queued. If there is no driver or it refused, the caller must copy by other means.
    """

class CaptureRange:
    """Begin the range that external tools capture, e.g. ``nsys --capture-range=cudaProfilerApi``.

    The range ends with :meth:`end`, or when this object is destroyed.

    Args:
        device: CUDA's number of the device whose context the range applies to.

    Raises:
        LibraryUnavailable: The driver cannot be used, or is too old for capture ranges.
        CudaError: A driver call failed.
    """

    def __init__(self, device: int) -> None: ...
    def end(self) -> None:
        """End the range. A second call does nothing, nor does a call in a forked child.

        Raises:
            CudaError: A driver call failed.
        """

# --- Capture ----------------------------------------------------------------------------------------------

class Stage:
    """A stage of a batch as a context manager, with its own two device events."""

    def __enter__(self) -> Stage:
        """Start the stage.

        Raises:
            ValueError: The stage was entered before, or the batch has ended.
        """
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End the stage. Does nothing if the batch has ended.

        Args:
            kind: Class of the exception that leaves the block, or None. It is ignored.
            error: Exception that leaves the block, or None. It is ignored and goes on.
            trace: Traceback of that exception, or None. It is ignored.
        """

@final
class Batch:
    """One batch that is being recorded. Several batches may be open at a time.

    As a context manager, a batch ends with its block.
    """

    @property
    def index(self) -> int:
        """Index that the caller gave to the batch."""
    def mark(self, stage: str, stream: int | None = None) -> None:
        """End the running stage of this batch, if any, and start another one.

        Neighboring stages on one stream share one device event.

        Args:
            stage: Name of the stage that starts, one of the timeline's stages.
            stream: ``CUstream`` handle on which the stage runs, or None for the timeline's stream.

        Raises:
            ValueError: The timeline has no such stage, the batch has ended, or `stream` is negative or too large.
            TypeError: The number or the types of the arguments are wrong.
        """
    def mark_device_timestamped(self, stage: str, stream: int | None, followed_by: str, gapless: bool = True) -> bool:
        """End the running stage and start one whose own kernels record the device's global timer.

        No device event separates such a stage from its neighbors. If this returns True, the caller must pass the
        timestamps to :meth:`set_device_timestamps`, before the batch ends and before the next timestamped stage;
        otherwise the batch counts as one without device times.

        Args:
            stage: Name of the stage that starts. Its first and last kernels must read the device's global timer.
            stream: ``CUstream`` handle for the event that replaces the timestamps if this returns False, or None for
                the timeline's stream.
            followed_by: Name of a device stage that is marked later in the batch with :meth:`mark` and begins on the
                device after this one has ended. Its event aligns the timestamps with the times of events.
            gapless: Whether one launch queues all kernels of the stage, as the replay of a graph does. If not, its
                device time includes waits for launches.

        Returns:
            Whether the timestamps are wanted. If not, the call was a plain :meth:`mark`.

        Raises:
            ValueError: The timeline has no such stage, or the batch has ended.
        """
    def copy(self, stage: str, stream: int | None, target: int, source: int, size: int) -> bool:
        """Mark a stage that is one asynchronous copy, queue the copy, and end the stage.

        Nothing but the copy comes between the stage's two device events. The context of the stream's device must be
        current, and both memories must stay allocated until the stream has reached the copy: PyTorch does not learn
        that they are in use.

        Args:
            stage: Name of the stage.
            stream: ``CUstream`` handle, or None for the timeline's stream.
            target: Address of the memory that is written, on the device or pinned on the host.
            source: Address of the memory that is read, on the device or pinned on the host.
            size: Number of bytes.

        Returns:
            Whether the copy was queued. If there is no driver or it refused, the caller must copy by other means.

        Raises:
            ValueError: The timeline has no such stage, or the batch has ended. Nothing was copied.
        """
    def set_device_timestamps(self, start_ns: int, end_ns: int) -> None:
        """Store what the kernels of the latest timestamped stage wrote. Does nothing once the batch has ended.

        Args:
            start_ns: Global timer in ns, as the first kernel of the stage read it; 0 if it read nothing.
            end_ns: Global timer in ns, as the last kernel of the stage read it. If it is below `start_ns`, the stage
                has no device times.

        Raises:
            ValueError: No stage waits for timestamps.
        """
    def end_stage(self) -> None:
        """End the running stage; does nothing if none is running."""
    def stage(self, stage: str, stream: int | None = None) -> Stage:
        """Create a stage that is entered and left on its own, beside the marked ones.

        Args:
            stage: Name of the stage, one of the timeline's stages.
            stream: ``CUstream`` handle on which the stage runs, or None for the timeline's stream.

        Returns:
            The stage, which starts when it is entered.

        Raises:
            ValueError: The timeline has no such stage.
        """
    def record_interval(self, stage: str, start_ns: int, end_ns: int) -> None:
        """Add a host interval that was measured elsewhere, e.g. in a worker process.

        Args:
            stage: Name of the stage, one of the timeline's stages.
            start_ns: Start of the interval in ns, on the clock of ``time.monotonic_ns``.
            end_ns: End of the interval in ns, on the clock of ``time.monotonic_ns``.

        Raises:
            ValueError: The timeline has no such stage, the batch has ended, or the interval ends before it starts.
        """
    def set_packing(self, statistics: PackStatistics) -> None:
        """Store the pack statistics of the batch.

        Args:
            statistics: Statistics of the pack that this batch processes; they replace earlier ones.

        Raises:
            ValueError: The batch has ended.
        """
    def end(self) -> None:
        """End the running stage and the batch. A second call does nothing."""
    def discard(self) -> None:
        """Remove the batch as if it had never begun, e.g. after a fetch that found no more data."""
    def __enter__(self) -> Batch:
        """Return the batch itself."""
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End the batch.

        Args:
            kind: Class of the exception that leaves the block, or None. It is ignored.
            error: Exception that leaves the block, or None. It is ignored and goes on.
            trace: Traceback of that exception, or None. It is ignored.
        """

class Timeline:
    """Record batches and their stages. A native thread collects the device times without the GIL.

    Args:
        stages: Names of all stages, in display order.
        device_stages: Names of the stages that also get a device interval; each must be one of `stages`.
        device: CUDA's number of the device, or None for host times only.
        stream: ``CUstream`` handle that is used where a call names no stream.
        nvtx: Whether stages are NVTX ranges too.
        event_pool_size: Maximum number of events in flight. A batch that needs more loses its device times and is
            counted in :attr:`dropped_batches`.
        collect_interval_ms: Time between two collections of completed events in ms. Collections are more frequent
            while the event pool runs low.
        clock_sync_interval_ms: Time between two synchronizations of the host and device clocks in ms.

    Raises:
        LibraryUnavailable: A device was requested, but the driver cannot be used.
        CudaError: The device cannot be used.
        ValueError: A stage name is missing, empty or duplicate, a device stage is not among the stages, or a number is
            out of range.
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
        collect_interval_ms: float = 20.0,
        clock_sync_interval_ms: float = 2000.0,
    ) -> None: ...
    def begin_batch(self, index: int) -> Batch:
        """Begin a batch.

        Args:
            index: Index of the batch, as it appears in :meth:`batches` and as payload of its NVTX ranges.

        Returns:
            The open batch. It is discarded if it is destroyed before it has ended.

        Raises:
            ValueError: The timeline has stopped.
            VirnucError: The timeline belongs to the parent of this forked process.
        """
    def stop(self, timeout_s: float = 10.0) -> None:
        """Wait for outstanding device times, then end the native thread. Idempotent.

        Batches that are still open may be ended afterwards, without device times.

        Args:
            timeout_s: Maximum time to wait for outstanding device times in s.

        Raises:
            ValueError: `timeout_s` is negative or not finite.
        """
    def batches(self) -> NDArray[np.void]:
        """Return the ended batches in the order in which they began, without discarded ones.

        Returns:
            Structured array of shape (batches,) with the fields of ``telemetry.batch_table.BATCH_FIELDS``: int64,
            except ``flags`` (uint32, the bits :attr:`HAS_PACKING`, :attr:`OVERSIZE` and
            :attr:`DEVICE_TIMES_DROPPED`). ``stage_begin`` and ``stage_end`` are rows of :meth:`stages`.
        """
    def stages(self) -> NDArray[np.void]:
        """Return the stages of the ended batches. Consistent with :meth:`batches` once the timeline has stopped.

        Returns:
            Structured array of shape (stages,) with the fields ``stage`` (int32), ``host_start_ns``, ``host_end_ns``,
            ``device_start_ns``, ``device_end_ns`` (int64) and ``timestamped`` (int32; 1 if the stage's own kernels
            took its device times). Device times are on the host clock, or NOT_MEASURED. Rows are grouped by batch in
            the order of :meth:`batches`, and ordered by start within a batch.
        """
    def anchors(self) -> NDArray[np.void]:
        """Return the anchors: one for each synchronization of the host and device clocks.

        Returns:
            Structured array of shape (anchors,) with the int64 fields ``host_ns``, ``device_ns`` (on the device clock,
            0 at the first anchor) and ``uncertainty_ns``.
        """
    @property
    def alignment(self) -> ClockAlignment | None:
        """How accurately device times are aligned with the host clock; None before the clocks were synchronized."""
    @property
    def stage_names(self) -> list[str]:
        """Names of all stages; the field ``stage`` of :meth:`stages` is a position in this list."""
    @property
    def device_enabled(self) -> bool:
        """Whether device times are still being recorded."""
    @property
    def device_error(self) -> str | None:
        """Why device timing turned itself off during the run; None if it did not."""
    @property
    def dropped_batches(self) -> int:
        """Number of ended batches that lost device times: pool exhausted, device error, or not finished at the end."""
    @property
    def cross_thread_ranges(self) -> int:
        """Number of stages that ended on another thread than they began on: their NVTX ranges closed late."""
    @property
    def memory_bytes(self) -> int:
        """Bytes held by recorded batches and stages, including spare chunks."""
    @property
    def profiler_calls(self) -> int:
        """Number of calls of :meth:`begin_batch` and of the methods of batches and stages."""
    @property
    def timed_calls(self) -> int:
        """Number of these calls that were timed: about one in 31, at random distances."""
    @property
    def timed_call_ns(self) -> int:
        """Time spent inside the timed calls in ns, including the wait for other marking threads."""
    @property
    def collector_cpu_ns(self) -> int | None:
        """CPU time of the native thread in ns; None without a device."""

    BATCH_RECORD_BYTES: Final[int]
    """Bytes of one stored batch."""
    STAGE_RECORD_BYTES: Final[int]
    """Bytes of one stored stage."""
    CHUNK_BYTES: Final[int]
    """Bytes of one chunk. Storage grows by one chunk of each kind at a time, and holds one spare chunk of each."""
    HAS_PACKING: Final[int]
    """Bit of ``flags``: the batch has pack statistics."""
    OVERSIZE: Final[int]
    """Bit of ``flags``: the pack exceeds its token budget."""
    DEVICE_TIMES_DROPPED: Final[int]
    """Bit of ``flags``: the batch lost device times."""

class ClockAlignment:
    """How accurately device times are aligned with the host clock."""

    @property
    def uncertainty_ns(self) -> int:
        """Largest uncertainty of the anchors in use in ns: half the width of the widest bracket."""
    @property
    def residual_ns(self) -> int | None:
        """Largest distance of an anchor from the line through its neighbors in ns; None with fewer than three."""
    @property
    def drift_ppm(self) -> float | None:
        """How much faster the device clock ran, by least squares; None if the anchors span less than a second."""

class GpuSampler:
    """Sample one GPU through NVML from native threads, one for each tier of query cost.

    Args:
        uuid: UUID of the device, as in :attr:`CudaDevice.uuid`.
        fast_interval_ms: Interval in ms for utilization, power, clocks, temperature, throttle reasons and memory; 0
            turns this tier off.
        gpm_interval_ms: Interval in ms, at least 100, for SM, tensor and DRAM activity (Hopper and later); 0 turns this
            tier off.
        energy_interval_ms: Interval in ms for the total energy counter; 0 turns this tier off.
        processes_interval_ms: Interval in ms for other processes on the device; 0 turns this tier off.

    Raises:
        LibraryUnavailable: NVML cannot be used, or has no such device; the message says which.
        ValueError: An interval is negative, not finite, or too short.
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
    def start(self) -> None:
        """Start the threads.

        Raises:
            ValueError: The sampler was started before.
            VirnucError: The sampler belongs to the parent of this forked process.
        """
    def stop(self, timeout_s: float = 0.5) -> None:
        """End the threads. Idempotent.

        Args:
            timeout_s: Maximum time to wait in s. A thread that is still stuck in NVML is then abandoned, and its tier
                counts as stalled.

        Raises:
            ValueError: `timeout_s` is negative or not finite.
        """
    def fast_readings(self) -> NDArray[np.void]:
        """Return the readings of the fast tier so far.

        Returns:
            Structured array of shape (readings,) with the int64 fields ``at_ns``, ``utilization_percent``,
            ``memory_utilization_percent``, ``power_mw``, ``sm_clock_mhz``, ``memory_clock_mhz``, ``temperature_c``,
            ``throttle_reasons`` and ``used_memory_bytes``.
        """
    def gpm_readings(self) -> NDArray[np.void]:
        """Return the readings of the GPM tier so far: means over the interval that ends at ``at_ns``.

        Returns:
            Structured array of shape (readings,) with the fields ``at_ns`` and ``interval_ns`` (int64), and
            ``sm_activity``, ``tensor_activity`` and ``dram_activity`` (float64, 0 to 1, NaN where not measured).
        """
    def energy_readings(self) -> NDArray[np.void]:
        """Return the readings of the energy tier so far.

        Returns:
            Structured array of shape (readings,) with the int64 fields ``at_ns`` and ``energy_mj`` (millijoules since
            the driver was loaded).
        """
    def process_readings(self) -> NDArray[np.void]:
        """Return the readings of the processes tier so far.

        Returns:
            Structured array of shape (readings,) with the int64 fields ``at_ns``, ``other_processes`` and
            ``other_sm_percent`` (share of SM time that the other processes took).
        """
    @property
    def max_sm_clock_mhz(self) -> int | None:
        """Highest SM clock of the card in MHz; None if NVML does not report it."""
    def tiers(self) -> list[SamplerTier]:
        """Return the state of each tier that is turned on."""

class StopDetector:
    """Record when this process, one of its descendants or the machine was stopped.

    A native thread wakes ten times per second. If it wakes late without having waited for a core, the process was
    stopped: by SIGSTOP, a debugger, or a frozen control group. A busy machine is no stop. Twice per second it looks for
    descendants that a signal or a debugger has stopped.
    """

    def __init__(self) -> None: ...
    def start(self) -> None:
        """Start the thread.

        Raises:
            ValueError: The detector was started before.
        """
    def stop(self) -> None:
        """End the thread, after it has noticed a stop that has just ended. Idempotent."""
    def stops(self) -> NDArray[np.void]:
        """Return the stops so far, in the order in which they ended.

        Returns:
            Structured array of shape (stops,) with the int64 fields ``start_ns`` and ``end_ns`` (monotonic clock),
            ``suspended_ns`` (time that the machine slept), ``pid`` (0 for the machine) and ``what`` (0: the process, 1:
            a descendant, 2: the machine).
        """
    def stopped_ns(self) -> int:
        """Return the monotonic time so far in which the process or a descendant was stopped; overlaps count once.

        Right after the process continues, this waits up to a second until the thread has noticed.
        """
    def cpu_ns(self) -> int | None:
        """Return the CPU time of the thread; None before it has started."""

class SamplerTier:
    """The state of a sampling tier."""

    @property
    def name(self) -> str:
        """Name of the tier: ``fast``, ``gpm``, ``energy`` or ``processes``."""
    @property
    def interval_ms(self) -> float:
        """Sampling interval in ms."""
    @property
    def readings(self) -> int:
        """Number of readings so far."""
    @property
    def missed_deadlines(self) -> int:
        """Number of deadlines that passed during a slow query."""
    @property
    def errors(self) -> int:
        """Number of queries that failed, entirely or in part."""
    @property
    def stalled(self) -> bool:
        """Whether a query has not returned for longer than a second and two intervals, or the thread was abandoned."""
    @property
    def unsupported(self) -> str:
        """Why this tier takes no readings on this device; empty if it takes some."""
    @property
    def cpu_ns(self) -> int | None:
        """CPU time of the tier's thread in ns; None if it was never started or was abandoned."""

# --- Packing ----------------------------------------------------------------------------------------------

class PackStatistics:
    """The contents of one pack. Lengths are in tokens, including BOS and EOS."""

    @property
    def sequences(self) -> int:
        """Number of sequences."""
    @property
    def tokens(self) -> int:
        """Number of tokens."""
    @property
    def min_length(self) -> int:
        """Length of the shortest sequence; 0 without sequences."""
    @property
    def mean_length(self) -> float:
        """Mean length of the sequences; 0 without sequences."""
    @property
    def max_length(self) -> int:
        """Length of the longest sequence; 0 without sequences."""
    @property
    def sum_squared_lengths(self) -> int:
        """Sum of the squared lengths, to which the work of attention is proportional."""
    @property
    def token_budget(self) -> int | None:
        """Token budget that the sequences were packed to, if any."""
    @property
    def packing_efficiency(self) -> float | None:
        """Tokens divided by the budget, 0 to 1; None without a budget and for an oversize pack."""
    @property
    def oversize(self) -> bool:
        """Whether the pack exceeds its budget, because it holds a single sequence that is longer."""
    @property
    def padding_tokens(self) -> int:
        """Number of padding tokens in a padded batch of the same sequences."""

def pack_statistics(cu_seqlens: NDArray[np.int32], token_budget: int | None = None) -> PackStatistics:
    """Compute the statistics of a pack.

    Args:
        cu_seqlens: Cumulative lengths of the sequences, shape (sequences + 1,), starting at 0.
        token_budget: Token budget that the sequences were packed to, at least 1, or None.

    Returns:
        The statistics of the pack.

    Raises:
        ValueError: `cu_seqlens` is not one-dimensional, is empty, decreases, or does not start at 0; or the budget is
            below 1, or several sequences together exceed it, so that they cannot have been packed to it.
    """

def pack_sequences(lengths: NDArray[np.int64], token_budget: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pack sequences into bins by best-fit decreasing, without the GIL. O(n log n) and deterministic.

    Args:
        lengths: Tokens of each sequence, shape (n,), each at least 1.
        token_budget: Maximum number of tokens in a pack, at least 1. A longer sequence gets its own pack.

    Returns:
        ``order``, shape (n,): sequence numbers, pack by pack. ``pack_offsets``, shape (packs + 1,): start of each pack
        in ``order``.

    Raises:
        ValueError: `lengths` is not one-dimensional, or a length or the budget is below 1.
    """

class FastaIndex:
    """The position of each sequence in an uncompressed FASTA text: five read-only int64 arrays of shape (n,)."""

    @property
    def header_starts(self) -> NDArray[np.int64]:
        """Offset of the first byte after each ``>``."""
    @property
    def id_ends(self) -> NDArray[np.int64]:
        """Offset of the end of each identifier: the first white space of the header."""
    @property
    def sequence_starts(self) -> NDArray[np.int64]:
        """Offset of the first byte after each header line."""
    @property
    def sequence_ends(self) -> NDArray[np.int64]:
        """Offset of the next header's ``>``, or the length of the text."""
    @property
    def residue_counts(self) -> NDArray[np.int64]:
        """Number of residues of each sequence, without white space, comment lines, and a final ``*``."""
    @property
    def fault_count(self) -> int:
        """Number of records that are not valid FASTA; they are not among the sequences."""
    @property
    def described_faults(self) -> int:
        """Number of the first faulty records that `fault` describes."""
    def fault(self, position: int) -> tuple[int, str, str]:
        """Return line, identifier, and reason of a faulty record.

        Args:
            position: Position among the faulty records, from 0.

        Raises:
            IndexError: `position` is not below `described_faults`.
        """
    @property
    def findings(self) -> list[tuple[str, int, int, int, str]]:
        """Kind, sequences, count, and line and identifier of the first, of whatever is odd in the text."""
    def __len__(self) -> int:
        """Return the number of sequences."""

class FastaFormatError(ValueError):
    """The text is not valid FASTA. ``args`` is ``(message, line)``, with the line number counted from 1."""

def index_fasta(text: Any, *, max_faults: int | None = None) -> FastaIndex:
    """Index a FASTA text in one pass, without the GIL.

    A record is faulty and left out if its header has no identifier, or if its sequence has no residues or holds a byte
    that cannot belong to it, such as a control character. Text before the first header is a fault too.

    Args:
        text: Object with a contiguous byte buffer, e.g. bytes or an mmap.
        max_faults: Number of faulty records to describe; None describes all. They are always counted.

    Returns:
        The position of each valid sequence in the text.

    Raises:
        FastaFormatError: The text holds no record at all.
    """

class FastaIndexer:
    """Indexes a FASTA text that arrives in pieces of any size, as `index_fasta` does.

    Args:
        max_faults: Number of faulty records to describe; None describes all.
    """

    def __init__(self, *, max_faults: int | None = None) -> None: ...
    def feed(self, piece: Any) -> None:
        """Read the next piece, without the GIL.

        Args:
            piece: Object with a contiguous byte buffer; it may be reused afterwards.

        Raises:
            FastaFormatError: A line has more than 256 MiB.
        """
    def finish(self) -> FastaIndex:
        """End the text and return its index. The indexer cannot be used again.

        Raises:
            FastaFormatError: The text holds no record at all.
        """

class EncodedSequences:
    """The tokens of sequences, one sequence after the other."""

    @property
    def tokens(self) -> NDArray[np.uint8]:
        """Tokens of all sequences, each with its BOS and EOS, shape (tokens,)."""
    @property
    def offsets(self) -> NDArray[np.int64]:
        """Start of each sequence in ``tokens``, shape (n + 1,)."""
    @property
    def truncated(self) -> int:
        """Number of sequences that were longer than the limit."""
    @property
    def unknown_residues(self) -> int:
        """Number of residues, among those kept, that the alphabet lacks; they have its unknown token."""

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
    skip_comments: bool = False,
) -> EncodedSequences:
    """Encode the sequences at ``text[starts[i]:ends[i]]``, without the GIL.

    White space is skipped, letters are read as upper case, and one final ``*`` is dropped.

    Args:
        text: Object with a contiguous byte buffer, e.g. bytes or an mmap.
        starts: Start of each sequence in `text`, shape (n,).
        ends: End of each sequence in `text`, shape (n,).
        table: Token of each byte, shape (256,); 255 for bytes that the alphabet lacks.
        bos: Token at the beginning of each sequence.
        eos: Token at the end of each sequence.
        unknown: Token of residues that the alphabet lacks.
        max_residues: Maximum number of residues in a sequence, at least 1. Longer sequences are cut and counted.
        skip_comments: Whether lines that start with ``;``, ``#``, or ``//`` are skipped, as in a FASTA file.

    Returns:
        The tokens of all sequences.

    Raises:
        ValueError: The shapes do not match, a range lies outside the text, or `max_residues` is below 1.
    """

def read_file_ranges(
    descriptor: int, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read ranges of an open file, neighboring ones at once, without the GIL.

    Args:
        descriptor: Open file, whose position does not matter.
        starts: Offset of the first byte of each range, in any order. Two ranges must be the same or not overlap.
        ends: Offset after the last byte of each range.

    Returns:
        Bytes that contain all ranges, and the start of each range in them.

    Raises:
        ValueError: A range is negative.
        OSError: The file cannot be read.
        EOFError: The file ends before a range does.
    """

def gather_sequences(
    tokens: NDArray[np.uint8], offsets: NDArray[np.int64], order: NDArray[np.int64], out: NDArray[np.uint8]
) -> NDArray[np.int32]:
    """Copy sequences one after the other into `out`, without the GIL.

    Args:
        tokens: Tokens of all sequences, shape (tokens,).
        offsets: Start of each sequence in `tokens`, shape (sequences + 1,).
        order: Numbers of the sequences to copy, in the order wanted, shape (n,).
        out: Writable array that receives the tokens, one-dimensional and long enough.

    Returns:
        Cumulative lengths of the copied sequences, shape (n + 1,), starting at 0.

    Raises:
        ValueError: A sequence number is out of range, or `out` is too small. Nothing is written then.
        TypeError: `out` is not an array of uint8.
    """
