# SPDX-License-Identifier: MIT
"""The job itself: a vector for every sequence of a file, on disk, exactly once."""
