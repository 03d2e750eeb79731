# SPDX-License-Identifier: MIT
"""What keeps foreign code from ending this process, changing it, or disturbing what it prints."""
