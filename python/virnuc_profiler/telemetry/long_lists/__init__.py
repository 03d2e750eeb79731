# SPDX-License-Identifier: MIT
"""Files with millions of numbers, read and written without a Python object for each."""
