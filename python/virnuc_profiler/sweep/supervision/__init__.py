# SPDX-License-Identifier: MIT
"""Trials in a process of their own, which can hang, crash or leak without taking the sweep with it."""
