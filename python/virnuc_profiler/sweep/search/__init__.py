# SPDX-License-Identifier: MIT
"""The adaptive search: a few short trials that a model of the rates proposes, then a race of the best."""
