# SPDX-License-Identifier: MIT
"""The ranks of a job on a Ray cluster: Ray places them, and replaces those that are lost. Imports Ray late."""
