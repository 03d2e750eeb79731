# SPDX-License-Identifier: MIT
"""One contract for any program that turns sequences into vectors, and the programs that keep it."""
