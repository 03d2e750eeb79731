# SPDX-License-Identifier: MIT
"""The sections of the page of one run, beside its timeline."""
