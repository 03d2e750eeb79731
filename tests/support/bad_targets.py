# SPDX-License-Identifier: MIT
"""Factories that make no target."""

import sys

from tests.support.toy_target import ToyTarget


def fails(options):
    raise LookupError("the moon is full")


def exits(options):
    sys.exit(2)


def no_target(options):
    return 7


class Nameless(ToyTarget):
    def describe(self):
        return {"model_name": "m"}


class Speechless(ToyTarget):
    def describe(self):
        raise LookupError("the moon is full")


class OddKnobs(ToyTarget):
    def knobs(self):
        return [7]


no_name, speechless, bad_knobs = Nameless, Speechless, OddKnobs
