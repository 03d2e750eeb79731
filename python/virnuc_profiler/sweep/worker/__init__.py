# SPDX-License-Identifier: MIT
"""The model process, and the supervisor that starts, watches and ends it."""
