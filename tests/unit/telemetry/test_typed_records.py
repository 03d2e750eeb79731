# SPDX-License-Identifier: MIT
from dataclasses import asdict

import pytest

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.records import DeviceCapture, GpmReading, SamplerTierRecord
from virnuc_profiler.telemetry.typed_records import read_record

TIER = SamplerTierRecord("fast", 100.0, 3, 0, 0, False, "", 1000)


@pytest.mark.parametrize("record", [TIER, GpmReading(5, 2, None, 0.5), DeviceCapture("cpu")])
def test_a_record_comes_back(record):
    assert read_record(type(record), asdict(record), "x") == record


def test_what_has_a_default_may_be_missing_and_whole_numbers_pass_for_others():
    assert read_record(GpmReading, {"at_ns": 5, "interval_ns": 2, "sm_activity": 1}, "x") == GpmReading(5, 2, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 5}, "tier.name is 5, must be str"),
        ({"readings": True}, "tier.readings is True, must be a whole number"),
        ({"readings": 1.0}, "tier.readings is 1.0"),
        ({"readings": 2**62 + 1}, "tier.readings is 4611686018427387905"),
        ({"interval_ms": 10**400}, "tier.interval_ms is 1000.*…"),
        ({"interval_ms": None}, "tier.interval_ms is None, must be float"),
        ({"stalled": 0}, "tier.stalled is 0, must be bool"),
        ({"cpu_ns": "x"}, "must be a whole number of at most 62 bits or null"),
        ({"unsupported": ["\x1b[2J"]}, r"is \['\\x1b\[2J'\]"),
    ],
)
def test_another_form_is_refused_with_its_reason(changes, message):
    with pytest.raises(TelemetryFormatError, match=message) as caught:
        read_record(SamplerTierRecord, {**asdict(TIER), **changes}, "tier")
    assert str(caught.value).isprintable()


def test_unknown_keys_are_ignored():
    assert read_record(SamplerTierRecord, {**asdict(TIER), "color": "red"}, "tier") == TIER


def test_what_is_missing_is_named_and_lists_are_no_records():
    values = asdict(TIER)
    del values["errors"]
    with pytest.raises(TelemetryFormatError, match="tier has no 'errors'"):
        read_record(SamplerTierRecord, values, "tier")
    with pytest.raises(TelemetryFormatError, match=r"tier is \[\], must be an object"):
        read_record(SamplerTierRecord, [], "tier")
