# SPDX-License-Identifier: MIT
"""The figures of a run as rows, for the text report and for pages."""
